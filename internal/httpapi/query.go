package httpapi

import (
	"net/http"
	"strconv"
)

// BoolParam reads a parameter of the query string that is true or false, or false if
// it isn't there.
func BoolParam(r *http.Request, name string) (bool, error) {
	switch r.URL.Query().Get(name) {
	case "", "false":
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
