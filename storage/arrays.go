package storage

import (
	"database/sql/driver"
	"strconv"

	"github.com/lib/pq"
)

// textArray builds a PostgreSQL array literal as values come. pq.StringArray
// would need the values collected first and has no NULL.
type textArray struct{ buf []byte }

func (a *textArray) separate() {
	if len(a.buf) == 0 {
		a.buf = append(a.buf, '{')
	} else {
		a.buf = append(a.buf, ',')
	}
}

func (a *textArray) add(s string) {
	a.separate()
	a.buf = append(a.buf, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			a.buf = append(a.buf, s[start:i]...)
			a.buf = append(a.buf, '\\')
			start = i
		}
	}
	a.buf = append(a.buf, s[start:]...)
	a.buf = append(a.buf, '"')
}

func (a *textArray) addNull() {
	a.separate()
	a.buf = append(a.buf, "NULL"...)
}

// addOrNull adds NULL for "".
func (a *textArray) addOrNull(s string) {
	if s == "" {
		a.addNull()
		return
	}
	a.add(s)
}

// Value implements driver.Valuer.
func (a *textArray) Value() (driver.Value, error) { return closeArray(a.buf) }

// intArray is textArray for numbers.
type intArray struct{ buf []byte }

func (a *intArray) add(n int64) {
	if len(a.buf) == 0 {
		a.buf = append(a.buf, '{')
	} else {
		a.buf = append(a.buf, ',')
	}
	a.buf = strconv.AppendInt(a.buf, n, 10)
}

func (a *intArray) addOrNull(n int64) {
	if n != 0 {
		a.add(n)
		return
	}
	if len(a.buf) == 0 {
		a.buf = append(a.buf, "{NULL"...)
	} else {
		a.buf = append(a.buf, ",NULL"...)
	}
}

// Value implements driver.Valuer.
func (a *intArray) Value() (driver.Value, error) { return closeArray(a.buf) }

func closeArray(buf []byte) (driver.Value, error) {
	if len(buf) == 0 {
		return "{}", nil
	}
	return string(append(buf, '}')), nil
}

// nids is a parameter for = ANY($n).
func nids(list []int64) driver.Valuer { return pq.Int64Array(list) }
