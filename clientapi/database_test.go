package clientapi

import (
	"testing"

	"hearth/internal/testenv"
	"hearth/storage"
)

func testDB(t testing.TB) *storage.DB { return testenv.Open(t) }
