package clientapi

import (
	"context"
	"crypto/rand"
	"database/sql"
	"os"
	"strings"
	"testing"

	"hearth/storage"
)

func testDB(t testing.TB) *storage.DB {
	dsn := os.Getenv("HEARTH_TEST_DSN")
	if dsn == "" {
		t.Skip("HEARTH_TEST_DSN names no PostgreSQL server")
	}
	name := "t" + strings.ToLower(rand.Text()[:10])
	admin, err := sql.Open("postgres", dsn+" dbname=postgres")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	db, err := storage.Open(context.Background(), dsn+" dbname="+name, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		db.Close()
		admin.Exec("DROP DATABASE " + name)
		admin.Close()
	})
	return db
}
