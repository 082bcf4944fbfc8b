package devicekeys

import (
	"context"
	"encoding/json"
	"errors"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// Claim takes a one-time key for each device that is asked for, by user, device and
// algorithm; devices that have none are left out. Asking for more than limit devices
// is an *httpapi.Error.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim
func Claim(ctx context.Context, db *storage.DB, asked map[string]map[string]string, limit int) (map[string]map[string]map[string]json.RawMessage, error) {
	claimed, n := map[string]map[string]map[string]json.RawMessage{}, 0
	for userID, devices := range asked {
		for deviceID, algorithm := range devices {
			if n++; n > limit {
				return nil, httpapi.InvalidParam("There are more than %d devices", limit)
			}
			if !httpapi.IsText(userID + deviceID + algorithm) {
				continue
			}
			key, err := db.ClaimKey(ctx, userID, deviceID, algorithm)
			if errors.Is(err, storage.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if claimed[userID] == nil {
				claimed[userID] = map[string]map[string]json.RawMessage{}
			}
			claimed[userID][deviceID] = map[string]json.RawMessage{algorithm + ":" + key.KeyID: key.JSON}
		}
	}
	return claimed, nil
}
