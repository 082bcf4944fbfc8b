package httpapi

import (
	"net/http"
	"strconv"
)

// BoolParam reads a parameter of the query string that is true or false, which missing
// stands for if it isn't there.
func BoolParam(r *http.Request, name string, missing bool) (bool, error) {
	switch r.URL.Query().Get(name) {
	case "":
		return missing, nil
	case "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, InvalidParam("%s must be true or false", name)
}

// IntParam reads a parameter of the query string that is a number of at least lowest,
// which missing stands for if it isn't there.
func IntParam(r *http.Request, name string, missing, lowest int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < lowest {
		return 0, InvalidParam("%s must be a number of at least %d", name, lowest)
	}
	return n, nil
}

// maxFrom is more than any list has.
const maxFrom = 1 << 40

// PageParams reads which page of a list an administrator asks for: from, how many are passed over, and limit, how many
// are shown, usually and at most.
func PageParams(r *http.Request, usual, most int) (from, limit int, err error) {
	if from, err = IntParam(r, "from", 0, 0); err != nil {
		return 0, 0, err
	}
	limit, err = IntParam(r, "limit", usual, 0)
	return min(from, maxFrom), min(limit, most), err
}
