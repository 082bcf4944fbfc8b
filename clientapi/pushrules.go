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
		{Method: "GET", Path: one + "/enabled", Handle: a.getPushRuleEnabled},
		{Method: "GET", Path: one + "/actions", Handle: a.getPushRuleActions},
	}
}

// getPushRules is GET /pushrules/.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules
func (a *API) getPushRules(_ *http.Request, u *httpapi.Requester) (any, error) {
	return httpapi.Raw(push.DefaultRules(u.UserID)), nil
}

// getGlobalPushRules is GET /pushrules/global/.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobal
func (a *API) getGlobalPushRules(_ *http.Request, u *httpapi.Requester) (any, error) {
	return push.DefaultRuleset(u.UserID), nil
}

// getPushRule is GET /pushrules/global/{kind}/{ruleId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleid
func (a *API) getPushRule(r *http.Request, u *httpapi.Requester) (any, error) {
	return findPushRule(r, u)
}

// getPushRuleEnabled is GET /pushrules/global/{kind}/{ruleId}/enabled.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidenabled
func (a *API) getPushRuleEnabled(r *http.Request, u *httpapi.Requester) (any, error) {
	rule, err := findPushRule(r, u)
	if err != nil {
		return nil, err
	}
	return map[string]bool{"enabled": rule.Enabled}, nil
}

// getPushRuleActions is GET /pushrules/global/{kind}/{ruleId}/actions.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidactions
func (a *API) getPushRuleActions(r *http.Request, u *httpapi.Requester) (any, error) {
	rule, err := findPushRule(r, u)
	if err != nil {
		return nil, err
	}
	return map[string]any{"actions": rule.Actions}, nil
}

func findPushRule(r *http.Request, u *httpapi.Requester) (*push.Rule, error) {
	rule, known := push.DefaultRuleset(u.UserID).Find(httpapi.Var(r, "kind"), httpapi.Var(r, "ruleId"))
	switch {
	case !known:
		return nil, httpapi.InvalidParam("There is no such kind of push rule")
	case rule == nil:
		return nil, httpapi.NotFound("There is no such push rule")
	}
	return rule, nil
}
