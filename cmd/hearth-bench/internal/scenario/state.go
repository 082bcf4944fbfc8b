package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"

	"hearth/cmd/hearth-bench/internal/matrix"
)

// state remembers the accounts and rooms that scenarios prepared, so that later
// runs against the same server need not make them again. An unfinished room is
// not remembered.
type state struct {
	path string // "" keeps nothing
	mu   sync.Mutex

	Tag      string                      `json:"tag"` // part of every name, unlike any other run's
	Accounts map[string][]matrix.Account `json:"accounts"`
	Rooms    map[string]*room            `json:"rooms"`
	Since    map[string]string           `json:"since"` // of idle users: a token of /sync
}

// room is a prepared room.
type room struct {
	ID      string `json:"id"`
	Members int    `json:"members"` // of the accounts it was made for, those that have joined
	Events  int    `json:"events"`  // marked messages, of sender 0
	Run     uint64 `json:"run"`     // their Mark.Run
}

func loadState(path string) (*state, error) {
	s := &state{path: path}
	s.reset()
	if path == "" {
		return s, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, s)
	}
	if err != nil {
		return nil, fmt.Errorf("remembered accounts: %w", err)
	}
	return s, nil
}

func (s *state) reset() {
	s.Tag = strconv.FormatInt(time.Now().UnixMilli(), 36)
	s.Accounts, s.Rooms, s.Since = map[string][]matrix.Account{}, map[string]*room{}, map[string]string{}
}

// update changes the state and writes it down.
func (s *state) update(change func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	if s.path == "" {
		return nil
	}
	b, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(s.path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(s.path+".new", s.path)
	}
	if err != nil {
		return fmt.Errorf("remember accounts: %w", err)
	}
	return nil
}

func (s *state) accounts(group string) []matrix.Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Accounts[group]
}

func (s *state) room(name string) *room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Rooms[name]
}

func (s *state) since(userID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Since[userID]
}
