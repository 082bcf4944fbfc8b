package push

import (
	"encoding/json"
	"fmt"
)

// Condition is one of the conditions that must all hold for a rule to match.
// Pattern and Value are nil where their kind has none.
//
// https://spec.matrix.org/v1.19/client-server-api/#conditions-1
type Condition struct {
	Kind    string          `json:"kind"`
	Key     string          `json:"key,omitempty"`
	Pattern *string         `json:"pattern,omitempty"`
	Value   json.RawMessage `json:"value,omitempty"`
	Is      string          `json:"is,omitempty"`
	// Subscribed is of threadSubscription.
	Subscribed *bool `json:"subscribed,omitempty"`
	// raw is the condition as the client wrote it if it has members that aren't known
	// here: another client may know them.
	raw json.RawMessage
}

// MarshalJSON writes the condition as it was read.
func (c Condition) MarshalJSON() ([]byte, error) {
	if c.raw != nil {
		return c.raw, nil
	}
	type plain Condition
	return json.Marshal(plain(c))
}

// UnmarshalJSON reads a condition, of a kind that is known or not.
func (c *Condition) UnmarshalJSON(text []byte) error {
	type plain Condition
	if err := json.Unmarshal(text, (*plain)(c)); err != nil {
		return fmt.Errorf("a condition is %w", err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return fmt.Errorf("a condition is %w", err)
	}
	for name := range members {
		switch name {
		case "kind", "key", "pattern", "value", "is", "subscribed":
		default:
			c.raw = append(json.RawMessage(nil), text...)
		}
	}
	return nil
}
