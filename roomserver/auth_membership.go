package roomserver

import (
	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
)

// decideMembership is the rule for m.room.member.
func (j *judgement) decideMembership() error {
	target := j.StateKey()
	if target == nil {
		return httpapi.Forbidden("A membership must be state")
	}
	membership := j.content.Get("membership").Str
	switch membership {
	case "join":
		return j.decideJoin(*target)
	case "invite":
		return j.decideInvite(*target)
	case "leave":
		return j.decideLeave(*target)
	case "ban":
		return j.decideBan(*target)
	case "knock":
		if j.version >= 7 {
			return j.decideKnock(*target)
		}
	}
	return httpapi.Forbidden("The membership %q isn't known", membership)
}

func (j *judgement) decideJoin(target string) error {
	if prev := j.PrevEventIDs(); len(prev) == 1 && prev[0] == j.create.EventID() && target == j.power.creators[0] {
		return nil
	}
	before := j.membership(target)
	switch {
	case j.sender() != target:
		return httpapi.Forbidden("Nobody joins for another")
	case before == "ban":
		return httpapi.Forbidden("%s is banned", target)
	}
	known := before == "invite" || before == "join"
	rule := j.joinRule()
	switch {
	case rule == "public":
		return nil
	case rule == "invite", rule == "knock" && j.version >= 7:
		if known {
			return nil
		}
	case isRestricted(j.version, rule):
		if known {
			return nil
		}
		return j.decideRestrictedJoin()
	}
	return httpapi.Forbidden("%s isn't invited, and the join rule is %q", target, rule)
}

func (j *judgement) decideRestrictedJoin() error {
	via := j.content.Get(AuthorisedVia).Str
	if via == "" || j.membership(via) != "join" || j.power.Of(via) < j.power.Action("invite") {
		return httpapi.Forbidden("The join isn't authorised by a member who may invite")
	}
	return nil
}

func (j *judgement) joinRule() string {
	rules, _ := j.auth.JoinRules() // never fails
	if rules == nil {
		return "invite"
	}
	if rule := gjson.GetBytes(rules.Content(), "join_rule"); rule.Exists() {
		return rule.Str
	}
	return "invite"
}

func (j *judgement) decideInvite(target string) error {
	if third := j.content.Get("third_party_invite"); third.Exists() {
		return j.decideThirdPartyInvite(target, third.Get("signed"))
	}
	before := j.membership(target)
	switch {
	case j.membership(j.sender()) != "join":
		return httpapi.Forbidden("%s isn't in the room", j.sender())
	case before == "join" || before == "ban":
		return httpapi.Forbidden("%s can't be invited: their membership is %s", target, before)
	}
	return j.needs("invite")
}

func (j *judgement) decideThirdPartyInvite(target string, signed gjson.Result) error {
	token := signed.Get("token")
	if j.membership(target) == "ban" {
		return httpapi.Forbidden("%s is banned", target)
	}
	if token.Type != gjson.String || signed.Get("mxid").Str != target {
		return httpapi.Forbidden("The invite by way of another service isn't one of %s", target)
	}
	invite, _ := j.auth.ThirdPartyInvite(token.Str) // never fails
	if invite == nil || invite.SenderID() != j.SenderID() {
		return httpapi.Forbidden("%s made no such invite", j.sender())
	}
	if len(ThirdPartyKeys(gjson.ParseBytes(invite.Content()), signed)) == 0 {
		return httpapi.Forbidden("The invite isn't signed with a key that was named for it")
	}
	return nil
}

func (j *judgement) decideLeave(target string) error {
	before := j.membership(target)
	if j.sender() == target {
		if before == "invite" || before == "join" || before == "knock" && j.version >= 7 {
			return nil
		}
		return httpapi.Forbidden("%s can't leave: their membership is %s", target, before)
	}
	if j.membership(j.sender()) != "join" {
		return httpapi.Forbidden("%s isn't in the room", j.sender())
	}
	if before == "ban" {
		if err := j.needs("ban"); err != nil {
			return err
		}
	}
	return j.isAbove(target, "kick")
}

func (j *judgement) decideBan(target string) error {
	if j.membership(j.sender()) != "join" {
		return httpapi.Forbidden("%s isn't in the room", j.sender())
	}
	return j.isAbove(target, "ban")
}

// isAbove requires of the sender the power for an action, and more of it than the target.
func (j *judgement) isAbove(target, action string) error {
	if err := j.needs(action); err != nil {
		return err
	}
	if power, other := j.power.Of(j.sender()), j.power.Of(target); other >= power {
		return httpapi.Forbidden("%s has as much power as %s: %d, not less than %d", target, j.sender(), other, power)
	}
	return nil
}

func (j *judgement) decideKnock(target string) error {
	before := j.membership(target)
	rule := j.joinRule()
	switch {
	case rule != "knock" && (rule != "knock_restricted" || j.version < 10):
		return httpapi.Forbidden("Nobody may knock: the join rule is %q", rule)
	case j.sender() != target:
		return httpapi.Forbidden("Nobody knocks for another")
	case before == "ban" || before == "invite" || before == "join":
		return httpapi.Forbidden("%s can't knock: their membership is %s", target, before)
	}
	return nil
}
