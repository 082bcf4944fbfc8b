package roomserver

import (
	"strings"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/spec"
	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

// This file and those beside it are the authorisation rules of all room versions. The
// library's differ from the specification's in what decides whether servers agree.

// judgement is an event that is judged, with the state that decides about it.
//
// https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules
type judgement struct {
	gomatrixserverlib.PDU
	version int // of the room
	auth    *gomatrixserverlib.AuthEvents
	create  gomatrixserverlib.PDU
	power   PowerLevels
	content gjson.Result
}

// authorise applies the authorisation rules to an event by a part of a state. Errors are
// *httpapi.Error.
func authorise(pdu gomatrixserverlib.PDU, auth *gomatrixserverlib.AuthEvents) error {
	v, err := gomatrixserverlib.GetRoomVersion(pdu.Version())
	if err != nil {
		return httpapi.Forbidden("The room's version isn't supported")
	}
	if pdu.Type() == "m.room.create" {
		return mayCreate(pdu, v)
	}
	if !auth.Valid() {
		return httpapi.Forbidden("It is authorised by events of several rooms")
	}
	j := &judgement{PDU: pdu, version: versionNumber(v), auth: auth, content: gjson.ParseBytes(pdu.Content())}
	j.create, _ = auth.Create() // never fails
	if j.create == nil || j.create.RoomID() != pdu.RoomID() {
		return httpapi.Forbidden("The event that made the room doesn't authorise it")
	}
	j.power = newPowerLevels(v, func(eventType string) []byte {
		holder, _ := auth.PowerLevels() // never fails
		if eventType == "m.room.create" {
			holder = j.create
		}
		if holder == nil {
			return nil
		}
		return holder.JSON()
	})
	return j.decide()
}

// mayCreate is rule 1.
func mayCreate(pdu gomatrixserverlib.PDU, v gomatrixserverlib.IRoomVersion) error {
	if !pdu.StateKeyEquals("") || len(pdu.PrevEventIDs()) > 0 {
		return httpapi.Forbidden("A room begins with the event that makes it")
	}
	sender, err := userIDForSender(pdu.RoomID(), pdu.SenderID())
	if err != nil {
		return notAllowed(err)
	}
	named := gjson.GetBytes(pdu.Content(), "room_version")
	if named.Exists() && !gomatrixserverlib.KnownRoomVersion(gomatrixserverlib.RoomVersion(named.String())) {
		return httpapi.Forbidden("The room's version isn't known")
	}
	if err := v.CheckCreateEvent(pdu, *sender, gomatrixserverlib.KnownRoomVersion); err != nil {
		return notAllowed(err)
	}
	return nil
}

func (j *judgement) sender() string { return string(j.SenderID()) }

// decide applies all rules but those for the event that makes a room.
func (j *judgement) decide() error {
	if gjson.GetBytes(j.create.Content(), `m\.federate`).Type == gjson.False && userid.Domain(j.sender()) != userid.Domain(string(j.create.SenderID())) {
		return httpapi.Forbidden("The room doesn't federate")
	}
	key := j.StateKey()
	switch {
	case j.Type() == "m.room.aliases" && j.version < 6:
		if key == nil || *key != userid.Domain(j.sender()) {
			return httpapi.Forbidden("A server may only name its own aliases")
		}
		return nil
	case j.Type() == "m.room.member":
		return j.decideMembership()
	case j.membership(j.sender()) != "join":
		return httpapi.Forbidden("%s isn't in the room", j.sender())
	case j.Type() == "m.room.third_party_invite":
		return j.needs("invite")
	}
	required := j.power.Event(j.Type())
	if key != nil {
		required = j.power.State(j.Type())
	}
	if power := j.power.Of(j.sender()); power < required {
		return httpapi.Forbidden("Sending %s needs power level %d; %s has %d", j.Type(), required, j.sender(), power)
	}
	if key != nil && strings.HasPrefix(*key, "@") && *key != j.sender() {
		return httpapi.Forbidden("%s may not change the state that belongs to %s", j.sender(), *key)
	}
	switch {
	case j.Type() == "m.room.power_levels":
		return j.decideLevels()
	case j.Type() == "m.room.redaction" && j.version < 3:
		if userid.Domain(j.Redacts()) != userid.Domain(j.EventID()) {
			return j.needs("redact")
		}
	}
	return nil
}

// needs requires of the sender the power level for an action.
func (j *judgement) needs(action string) error {
	if power, required := j.power.Of(j.sender()), j.power.Action(action); power < required {
		return httpapi.Forbidden("It needs the power level to %s, %d; %s has %d", action, required, j.sender(), power)
	}
	return nil
}

// membership is a user's, "leave" where nothing is known of them.
func (j *judgement) membership(userID string) string {
	member, _ := j.auth.Member(spec.SenderID(userID)) // never fails
	if member == nil {
		return "leave"
	}
	return gjson.GetBytes(member.Content(), "membership").Str
}

// authorities are the pieces of state that decide about an event.
//
// https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
func authorities(v gomatrixserverlib.IRoomVersion, eventType, sender string, stateKey *string, content []byte) []storage.StateTuple {
	if eventType == "m.room.create" {
		return nil
	}
	list := []storage.StateTuple{{Type: "m.room.create"}, {Type: "m.room.power_levels"}, {Type: "m.room.member", StateKey: sender}}
	if eventType != "m.room.member" || stateKey == nil {
		return list
	}
	if *stateKey != sender {
		list = append(list, storage.StateTuple{Type: "m.room.member", StateKey: *stateKey})
	}
	membership := gjson.GetBytes(content, "membership").Str
	if membership == "join" || membership == "invite" || membership == "knock" {
		list = append(list, storage.StateTuple{Type: "m.room.join_rules"})
	}
	if token := gjson.GetBytes(content, "third_party_invite.signed.token"); membership == "invite" && token.Type == gjson.String {
		list = append(list, storage.StateTuple{Type: "m.room.third_party_invite", StateKey: token.Str})
	}
	via := gjson.GetBytes(content, AuthorisedVia)
	if membership == "join" && via.Type == gjson.String && via.Str != *stateKey && via.Str != sender && versionNumber(v) >= 8 {
		list = append(list, storage.StateTuple{Type: "m.room.member", StateKey: via.Str})
	}
	return list
}

func authoritiesOf(pdu gomatrixserverlib.PDU, v gomatrixserverlib.IRoomVersion) []storage.StateTuple {
	return authorities(v, pdu.Type(), string(pdu.SenderID()), pdu.StateKey(), pdu.Content())
}
