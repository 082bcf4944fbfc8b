package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// settingsFile is included by the cluster's postgresql.conf.
const settingsFile = "hearth.conf"

// settings are what differs from PostgreSQL's defaults.
func (c *Cluster) settings() string {
	s := map[string]string{
		// Reached over the socket only, which lies in a directory closed to others.
		"listen_addresses":        "''",
		"unix_socket_directories": "'" + c.place.socket + "'",
		"port":                    "5432",
		"max_connections":         "60",
		// What was acknowledged survives a crash of the machine.
		"fsync":              "on",
		"synchronous_commit": "on",
		"full_page_writes":   "on",
		// Sized for a small machine that runs Hearth beside it.
		"shared_buffers":               "128MB",
		"work_mem":                     "8MB",
		"maintenance_work_mem":         "128MB",
		"min_wal_size":                 "256MB",
		"max_wal_size":                 "2GB",
		"checkpoint_timeout":           "15min",
		"checkpoint_completion_target": "0.9",
		"wal_compression":              c.walCompression(),
		// Queries are short and by key: planning them in parallel or compiling them
		// costs more than it saves.
		"jit":                             "off",
		"max_parallel_workers_per_gather": "0",
		"random_page_cost":                "1.1",
		"autovacuum_naptime":              "20s",
		// A log that stays small: one file a weekday, overwritten a week later.
		"logging_collector":        "on",
		"log_directory":            "'log'",
		"log_filename":             "'postgresql-%a.log'",
		"log_rotation_age":         "1d",
		"log_rotation_size":        "0",
		"log_truncate_on_rotation": "on",
		"log_min_messages":         "warning",
		"log_line_prefix":          "'%m [%p] '",
	}
	if c.o.Throwaway {
		maps.Copy(s, map[string]string{"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"})
	}
	var b strings.Builder
	b.WriteString("# Written by Hearth at every start; changes are lost.\n")
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s = %s\n", name, s[name])
	}
	return b.String()
}

// walCompression is lz4 where the server was built with it: full-page images
// after a checkpoint are most of what is written.
func (c *Cluster) walCompression() string {
	if c.bin.major < 15 {
		return "on"
	}
	out, err := c.command(context.Background(), "pg_config", "--configure").Output()
	if err == nil && bytes.Contains(out, []byte("--with-lz4")) {
		return "lz4"
	}
	return "on"
}

// writeSettings writes the settings and reports whether they differ from those a
// running postmaster was started with.
func (c *Cluster) writeSettings() (changed bool, err error) {
	path := filepath.Join(c.place.cluster, settingsFile)
	old, err := os.ReadFile(path)
	text := []byte(c.settings())
	if err == nil && bytes.Equal(old, text) {
		return false, nil
	}
	err = os.WriteFile(path+".new", text, 0o600)
	err = errors.Join(err, os.Lchown(path+".new", c.owner.uid, c.owner.gid))
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return false, fmt.Errorf("configuring the database: %w", err)
	}
	return true, nil
}
