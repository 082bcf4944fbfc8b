package clientapi

import (
	"net/http"

	"hearth/internal/httpapi"
	"hearth/push"
)

func (a *API) pushRuleRoutes() []httpapi.Route {
	const one = "/pushrules/global/{kind}/{ruleId}"
	return []httpapi.Route{
		{Method: "GET", Path: "/pushrules/", Handle: a.getPushRules},
		{Method: "GET", Path: "/pushrules/global/", Handle: a.getGlobalPushRules},
		{Method: "GET", Path: one, Handle: a.getPushRule},
		{Method: "PUT", Path: one, Rate: httpapi.RateMessage, Handle: a.putPushRule},
		{Method: "DELETE", Path: one, Rate: httpapi.RateMessage, Handle: a.deletePushRule},
		{Method: "GET", Path: one + "/enabled", Handle: a.getPushRuleEnabled},
		{Method: "PUT", Path: one + "/enabled", Rate: httpapi.RateMessage, Handle: a.putPushRuleEnabled},
		{Method: "GET", Path: one + "/actions", Handle: a.getPushRuleActions},
		{Method: "PUT", Path: one + "/actions", Rate: httpapi.RateMessage, Handle: a.putPushRuleActions},
	}
}

// getPushRules is GET /pushrules/.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules
func (a *API) getPushRules(r *http.Request, u *httpapi.Requester) (any, error) {
	rules, err := a.o.PushRules.Rules(r.Context(), u.UserID)
	if err != nil {
		return nil, err
	}
	return map[string]*push.Ruleset{"global": rules}, nil
}

// getGlobalPushRules is GET /pushrules/global/.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobal
func (a *API) getGlobalPushRules(r *http.Request, u *httpapi.Requester) (any, error) {
	return a.o.PushRules.Rules(r.Context(), u.UserID)
}

// getPushRule is GET /pushrules/global/{kind}/{ruleId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleid
func (a *API) getPushRule(r *http.Request, u *httpapi.Requester) (any, error) {
	return a.findPushRule(r, u)
}

// getPushRuleEnabled is GET /pushrules/global/{kind}/{ruleId}/enabled.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidenabled
func (a *API) getPushRuleEnabled(r *http.Request, u *httpapi.Requester) (any, error) {
	rule, err := a.findPushRule(r, u)
	if err != nil {
		return nil, err
	}
	return map[string]bool{"enabled": rule.Enabled}, nil
}

// getPushRuleActions is GET /pushrules/global/{kind}/{ruleId}/actions.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidactions
func (a *API) getPushRuleActions(r *http.Request, u *httpapi.Requester) (any, error) {
	rule, err := a.findPushRule(r, u)
	if err != nil {
		return nil, err
	}
	return map[string]any{"actions": rule.Actions}, nil
}

func (a *API) findPushRule(r *http.Request, u *httpapi.Requester) (*push.Rule, error) {
	rules, err := a.o.PushRules.Rules(r.Context(), u.UserID)
	if err != nil {
		return nil, err
	}
	return rules.Find(httpapi.Var(r, "kind"), httpapi.Var(r, "ruleId"))
}

// putPushRule is PUT /pushrules/global/{kind}/{ruleId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
func (a *API) putPushRule(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Actions    []any            `json:"actions"`
		Conditions []push.Condition `json:"conditions"`
		Pattern    string           `json:"pattern"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.Actions == nil {
		return nil, httpapi.MissingParam("actions is missing")
	}
	rule := push.Rule{ID: httpapi.Var(r, "ruleId"), Actions: body.Actions, Conditions: body.Conditions, Pattern: body.Pattern}
	q := r.URL.Query()
	return nil, a.o.PushRules.Change(r.Context(), u.UserID, func(s *push.Ruleset) error {
		return s.Put(httpapi.Var(r, "kind"), rule, q.Get("before"), q.Get("after"))
	})
}

// deletePushRule is DELETE /pushrules/global/{kind}/{ruleId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3pushrulesglobalkindruleid
func (a *API) deletePushRule(r *http.Request, u *httpapi.Requester) (any, error) {
	return nil, a.o.PushRules.Change(r.Context(), u.UserID, func(s *push.Ruleset) error {
		return s.Delete(httpapi.Var(r, "kind"), httpapi.Var(r, "ruleId"))
	})
}

// putPushRuleEnabled is PUT /pushrules/global/{kind}/{ruleId}/enabled.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidenabled
func (a *API) putPushRuleEnabled(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Enabled *bool `json:"enabled"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.Enabled == nil {
		return nil, httpapi.MissingParam("enabled is missing")
	}
	return nil, a.changePushRule(r, u, func(rule *push.Rule) error {
		rule.Enabled = *body.Enabled
		return nil
	})
}

// putPushRuleActions is PUT /pushrules/global/{kind}/{ruleId}/actions.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidactions
func (a *API) putPushRuleActions(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Actions []any `json:"actions"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.Actions == nil {
		return nil, httpapi.MissingParam("actions is missing")
	}
	return nil, a.changePushRule(r, u, func(rule *push.Rule) error { return rule.SetActions(body.Actions) })
}

func (a *API) changePushRule(r *http.Request, u *httpapi.Requester, change func(*push.Rule) error) error {
	return a.o.PushRules.Change(r.Context(), u.UserID, func(s *push.Ruleset) error {
		rule, err := s.Find(httpapi.Var(r, "kind"), httpapi.Var(r, "ruleId"))
		if err != nil {
			return err
		}
		return change(rule)
	})
}
