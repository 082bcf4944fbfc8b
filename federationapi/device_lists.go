package federationapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

const (
	// resyncEvery is how often lists that are stale are asked for again, those that are
	// heard of at once.
	resyncEvery = time.Minute
	// maxResync bounds the users of one round, maxOneByOne those of a server that are asked
	// for one by one, and resyncTimeout the time of a server's round.
	maxResync, maxOneByOne = 2000, 20
	resyncTimeout          = time.Minute
	// suspectEvery is how often an unknown device makes a user's list stale.
	suspectEvery = 5 * time.Minute
	maxSeen      = 10_000
	// arrivedFor is for how long a user has just come.
	arrivedFor = time.Minute
)

// deviceLists keeps what is known of the devices of other servers' users up to date.
// What is stale is marked so in the database.
type deviceLists struct {
	wake chan struct{}
	// swept is whether lists of users who share no room any more have been forgotten since
	// the program began.
	swept atomic.Bool
	// seen are updates that were taken lately, and suspected is when an unknown device of a
	// user was last seen.
	seen      *lru.Cache[string, struct{}]
	suspected *lru.Cache[string, time.Time]
	// arrived is when users of other servers last came into a room.
	arrived *lru.Cache[string, time.Time]

	mu sync.Mutex
	// parted are users who may share no room with this server any more, came those who
	// came into one before the lists were swept, and left the rooms that this server's users left.
	parted, came map[string]bool
	left         map[int64]*roomserver.View
}

func newDeviceLists() *deviceLists {
	l := &deviceLists{wake: make(chan struct{}, 1), parted: map[string]bool{}, came: map[string]bool{}, left: map[int64]*roomserver.View{}}
	var err, err2, err3 error
	l.seen, err = lru.New[string, struct{}](maxSeen)
	l.suspected, err2 = lru.New[string, time.Time](maxSeen)
	l.arrived, err3 = lru.New[string, time.Time](maxSeen)
	if err = errors.Join(err, err2, err3); err != nil {
		panic(err) // only for a size that isn't positive
	}
	return l
}

// takeDeviceUpdate takes in a change of a device.
//
// https://spec.matrix.org/v1.19/server-server-api/#mdevice_list_update
func (a *API) takeDeviceUpdate(ctx context.Context, origin string, content json.RawMessage) error {
	var c struct {
		UserID   string          `json:"user_id"`
		DeviceID string          `json:"device_id"`
		StreamID int64           `json:"stream_id"`
		PrevID   []int64         `json:"prev_id"`
		Deleted  bool            `json:"deleted"`
		Keys     json.RawMessage `json:"keys"`
	}
	if err := decode(content, &c); err != nil {
		return err
	}
	if c.DeviceID == "" || len(c.DeviceID) > maxID || !httpapi.IsText(c.DeviceID) {
		return httpapi.InvalidParam("device_id is missing or no id")
	}
	u := storage.RemoteDeviceUpdate{UserID: c.UserID, DeviceID: c.DeviceID, StreamID: c.StreamID, Previous: c.PrevID}
	if !c.Deleted && isDevice(c.UserID, c.DeviceID, c.Keys) {
		u.JSON = c.Keys
	} else if !c.Deleted {
		u.Previous = nil // the list has to be asked for
	}
	return a.takeKeys(ctx, origin, c.UserID, fmt.Sprint(c.UserID, " ", c.StreamID, " ", c.DeviceID), func() (known, stale bool, err error) { return a.db.UpdateRemoteDevice(ctx, u) })
}

// takeSigningKeys takes in changed cross-signing keys.
//
// https://spec.matrix.org/v1.19/server-server-api/#msigning_key_update
func (a *API) takeSigningKeys(ctx context.Context, origin string, content json.RawMessage) error {
	var c struct {
		UserID      string          `json:"user_id"`
		Master      json.RawMessage `json:"master_key"`
		SelfSigning json.RawMessage `json:"self_signing_key"`
	}
	if err := decode(content, &c); err != nil {
		return err
	}
	return a.takeKeys(ctx, origin, c.UserID, "", func() (bool, bool, error) {
		return true, false, a.db.UpdateRemoteSigningKeys(ctx, c.UserID, checkedCrossKey(c.UserID, "master", c.Master),
			checkedCrossKey(c.UserID, "self_signing", c.SelfSigning))
	})
}

// takeKeys has what is known of a user's devices updated, and those told who share a room
// with them. What was taken already is named the same, unless it has no name. That they should
// ask was said when the user came; an update right after that says nothing else to those
// of whom none has asked.
func (a *API) takeKeys(ctx context.Context, origin, userID, name string, update func() (known, stale bool, err error)) error {
	if err := checkUser(origin, userID); err != nil {
		return err
	}
	if a.lists.seen.Contains(name) {
		return nil
	}
	shared, err := a.sharedRooms(ctx, []string{userID})
	if err != nil {
		return err
	}
	if len(shared[userID]) == 0 {
		return a.tellPresumed(ctx, origin, userID)
	}
	known, stale, err := update()
	if err != nil {
		return err
	}
	if at, ok := a.lists.arrived.Get(userID); ok && a.lists.arrived.Remove(userID) && !known && time.Since(at) < arrivedFor {
		return nil
	}
	if err := a.tellChanged(ctx, []string{userID}); err != nil {
		return err
	}
	if name != "" {
		a.lists.seen.Add(name, struct{}{})
	}
	if stale {
		poke(a.lists.wake)
	}
	return nil
}

// tellPresumed has the clients told of a user who isn't known to share a room with anybody,
// but may, in one whose members aren't known yet. Nothing is kept of such a user.
func (a *API) tellPresumed(ctx context.Context, origin, userID string) error {
	may, err := a.db.MayShare(ctx, origin)
	if err != nil {
		return err
	}
	if !may {
		return httpapi.Forbidden("%s shares no room with anybody here", userID)
	}
	return a.tellChanged(ctx, []string{userID})
}

// tellChanged has the clients of those who share a room with the users ask for their
// keys.
func (a *API) tellChanged(ctx context.Context, users []string) error {
	if len(users) == 0 {
		return nil
	}
	c := &storage.Change{}
	for _, userID := range users {
		c.DeviceLists = append(c.DeviceLists, storage.DeviceListChange{UserID: userID})
	}
	return a.db.Stream.Append(ctx, c)
}

// suspectUnknown asks for a user's devices again if a message comes from one that isn't
// known.
func (a *API) suspectUnknown(ctx context.Context, userID string, messages map[string]map[string]json.RawMessage) error {
	sender := ""
	for _, devices := range messages {
		for _, content := range devices {
			sender = gjson.GetBytes(content, "sender_key").Str
		}
	}
	if at, ok := a.lists.suspected.Get(userID); sender == "" || ok && time.Since(at) < suspectEvery {
		return nil
	}
	known, err := a.db.RemoteDeviceLists(ctx, []string{userID})
	if err != nil || known[userID] == nil || known[userID].Stale {
		return err
	}
	for _, raw := range known[userID].Devices {
		if bytes.Contains(raw, []byte(sender)) {
			return nil
		}
	}
	a.lists.suspected.Add(userID, time.Now())
	stale, err := a.db.MarkRemoteDevicesStale(ctx, []string{userID})
	if err != nil {
		return err
	}
	poke(a.lists.wake)
	return a.tellChanged(ctx, stale)
}

// followDevices notes who may share no room with this server's users any more: their
// servers no longer say when their devices change.
func (a *API) followDevices(b *storage.Batch) {
	l := a.lists
	l.mu.Lock()
	defer l.mu.Unlock()
	noted := false
	for _, c := range b.Changes {
		if c.Room == nil {
			continue
		}
		for _, e := range c.Room.Events {
			if isArrival(e) {
				l.arrived.Add(*e.StateKey, time.Now())
			}
		}
		for _, m := range c.Room.Memberships {
			local := userid.Domain(m.UserID) == a.serverName
			switch {
			case m.Membership == "join" && !local && !l.swept.Load():
				l.came[m.UserID], noted = true, true
			case (m.Membership == "leave" || m.Membership == "ban") && local:
				l.left[m.RoomNID], noted = &roomserver.View{Room: c.Room.Room, State: c.Room.StateAfter}, true
			case m.Membership == "leave" || m.Membership == "ban":
				l.parted[m.UserID], noted = true, true
			}
		}
	}
	if noted {
		poke(l.wake)
	}
}

// watchDevices keeps lists up to date until the sender is stopped.
func (a *API) watchDevices() {
	ctx := a.sender.ctx
	tick := time.NewTicker(resyncEvery)
	defer tick.Stop()
	for {
		err := a.forgetParted(ctx)
		if err == nil {
			err = a.resync(ctx)
		}
		if err != nil && ctx.Err() == nil {
			a.log.Warn("keeping other users' devices up to date failed", "err", err)
		}
		select {
		case <-a.lists.wake:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// forgetParted forgets the devices of users who share no room any more.
func (a *API) forgetParted(ctx context.Context) error {
	l := a.lists
	for after := ""; !l.swept.Load(); {
		users, err := a.db.KnownRemoteUsers(ctx, after, maxResync)
		if err == nil {
			err = a.forgetUnshared(ctx, users)
		}
		if err != nil {
			return err
		}
		if len(users) < maxResync {
			l.swept.Store(true)
			break
		}
		after = users[len(users)-1]
	}
	l.mu.Lock()
	parted, came, left := l.parted, l.came, l.left
	l.parted, l.came, l.left = map[string]bool{}, map[string]bool{}, map[int64]*roomserver.View{}
	l.mu.Unlock()
	err := a.forgetThose(ctx, parted, came, left)
	if err != nil { // they wait for the next time, with those who have been noted since
		l.mu.Lock()
		defer l.mu.Unlock()
		maps.Copy(parted, l.parted)
		maps.Copy(came, l.came)
		maps.Copy(left, l.left)
		l.parted, l.came, l.left = parted, came, left
	}
	return err
}

func (a *API) forgetThose(ctx context.Context, parted, came map[string]bool, left map[int64]*roomserver.View) error {
	users := slices.Collect(maps.Keys(parted))
	for room, v := range left {
		if a.rooms.JoinedServers(v)[a.serverName] > 0 {
			continue
		}
		in, err := a.db.KnownRemoteUsersIn(ctx, room)
		if err != nil {
			return err
		}
		users = append(users, in...)
	}
	if len(came) > 0 {
		if _, err := a.db.MarkRemoteDevicesStale(ctx, slices.Collect(maps.Keys(came))); err != nil {
			return err
		}
	}
	return a.forgetUnshared(ctx, users)
}

func (a *API) forgetUnshared(ctx context.Context, users []string) error {
	shared, err := a.sharedRooms(ctx, users)
	if err != nil {
		return err
	}
	var gone []string
	for _, userID := range users {
		if len(shared[userID]) == 0 {
			gone = append(gone, userID)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return a.db.DeleteRemoteDeviceLists(ctx, gone)
}

// resync asks again for lists that are stale. What can't be had stays stale until the
// next round, or the one after which its server may be asked again.
func (a *API) resync(ctx context.Context) error {
	for after := ""; ; {
		users, err := a.db.StaleRemoteUsers(ctx, after, maxResync)
		if err != nil || len(users) == 0 {
			return err
		}
		after = users[len(users)-1]
		shared, err := a.sharedRooms(ctx, users)
		if err != nil {
			return err
		}
		of := byServer(users)
		var servers []string
		for server := range of {
			if at, err := a.client.RetryAt(ctx, server); err == nil && time.Now().After(at) && a.mayBeSent(server) {
				servers = append(servers, server)
			}
		}
		failures := a.askServers(ctx, servers, resyncTimeout, func(ctx context.Context, server string) error {
			return a.resyncServer(ctx, server, of[server], shared)
		})
		if len(failures) > 0 {
			a.log.Debug("devices of some servers' users can't be had", "servers", len(failures))
		}
	}
}

func (a *API) resyncServer(ctx context.Context, server string, users []string, shared map[string][]int64) error {
	if len(users) > maxOneByOne {
		if err := a.tellChanged(ctx, users); err != nil {
			return err
		}
		_, err := a.fetchLists(ctx, server, users[:min(len(users), maxUsersAsked)], shared)
		return err
	}
	var failed error
	for _, userID := range users {
		err := a.resyncUser(ctx, userID)
		var refused *client.RemoteError
		if err != nil && !errors.As(err, &refused) {
			return err
		}
		failed = errors.Join(failed, err) // of the others it may tell
	}
	return failed
}

func (a *API) resyncUser(ctx context.Context, userID string) error {
	before, err := a.db.RemoteDeviceLists(ctx, []string{userID})
	if err != nil || before[userID] == nil {
		return err
	}
	l, err := a.fetchDevices(ctx, userID)
	var refused *client.RemoteError
	if errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status == http.StatusForbidden) {
		l, err = &storage.RemoteDeviceList{UserID: userID, CheckedAt: time.Now().UnixMilli()}, nil // the user is gone
	}
	if err != nil {
		return err
	}
	// First the clients: one that asks meanwhile has the server asked.
	if err := a.tellChanged(ctx, []string{userID}); err != nil {
		return err
	}
	l.Changes = before[userID].Changes
	return a.db.SetRemoteDeviceList(ctx, l)
}
