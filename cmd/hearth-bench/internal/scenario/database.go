package scenario

import (
	"context"

	"hearth/cmd/hearth-bench/internal/pgstat"
)

// databaseWork reads what the database has done so far, if it was named.
func (e *Env) databaseWork(ctx context.Context) (pgstat.Work, error) {
	if e.DB == nil {
		return pgstat.Work{}, nil
	}
	return e.DB.Read(ctx)
}

// addDatabaseWork adds what the database has done for each of n messages since
// an earlier reading.
func (e *Env) addDatabaseWork(ctx context.Context, r *Result, from pgstat.Work, n int64) error {
	if e.DB == nil || n == 0 {
		return nil
	}
	to, err := e.DB.Read(ctx)
	if err != nil {
		return err
	}
	each := func(from, to int64) float64 { return float64(to-from) / float64(n) }
	r.add("transactions/message", "", each(from.Transactions, to.Transactions))
	r.add("WAL/message", "bytes", each(from.WALBytes, to.WALBytes))
	r.add("WAL records/message", "", each(from.WALRecords, to.WALRecords))
	r.add("WAL fsyncs/message", "", each(from.WALSyncs, to.WALSyncs))
	r.add("disk/message", "bytes", each(from.Size, to.Size))
	return nil
}
