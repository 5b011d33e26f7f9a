package console

import (
	"context"
	"net/http"
	"regexp"
	"time"

	"sluice/internal/config"
	"sluice/internal/httpapi"
	"sluice/internal/message"
	"sluice/internal/onboarding"
)

// onboarder connects numbers after an Embedded Signup, and changes their registration at Meta.
type onboarder interface {
	Run(ctx context.Context, q onboarding.Request) onboarding.Result
	Change(ctx context.Context, number string, do onboarding.Registration) onboarding.Step
}

// onboardingTimeout bounds all calls of Meta for one request.
const onboardingTimeout = 90 * time.Second

// callback is an override of a callback URL, in a request.
type callback struct {
	URL         string        `json:"url" doc:"The URL, at most 200 characters. Meta makes the handshake with it at once."`
	VerifyToken config.Secret `json:"verify_token" doc:"The verify token of the handshake."`
}

// onboardRequest is the body of POST /v1/onboarding.
type onboardRequest struct {
	App             string        `json:"app" doc:"Name of the app with which the signup was opened. Its app secret must be configured or stored."`
	AppID           string        `json:"app_id,omitempty" doc:"Meta's id of this app. Needed with code."`
	Code            config.Secret `json:"code,omitempty" doc:"The code that the signup returned. It is valid for 30 s, once. Without it the access token that the number has is used."`
	Account         string        `json:"waba_id" doc:"The id of the WhatsApp Business Account that the signup returned."`
	Number          string        `json:"phone_number_id" doc:"The phone number id that the signup returned."`
	PIN             config.Secret `json:"pin,omitempty" doc:"PIN of the two-step verification, six digits: the present one, or a new one if the number has none. Needed unless the number is registered."`
	Client          string        `json:"client,omitempty" doc:"Name of the client that the number belongs to."`
	RateLimit       int           `json:"rate_limit,omitempty" doc:"Messages per second, 1 to 10000. Without it Sluice uses the throughput that Meta reports."`
	AccountCallback *callback     `json:"account_callback,omitempty" doc:"Where Meta sends the webhooks of the account's messages, in place of the URL of the app."`
	NumberCallback  *callback     `json:"number_callback,omitempty" doc:"Where Meta sends the webhooks of the number's messages."`
	order
}

// registrationRequest is the body of POST /v1/numbers/{phone_number_id}/registration.
type registrationRequest struct {
	Action   string        `json:"action" doc:"register: with pin, unless the number is registered. deregister: the number cannot send any more. request-code: Meta sends a verification code to the number. verify-code: with code. set-pin: with pin."`
	PIN      config.Secret `json:"pin,omitempty" doc:"PIN of the two-step verification: six digits."`
	Code     config.Secret `json:"code,omitempty" doc:"The code that the number received."`
	Method   string        `json:"method,omitempty" doc:"Of request-code: SMS or VOICE. Default: SMS."`
	Language string        `json:"language,omitempty" doc:"Of request-code. Default: en_US."`
	order
}

var pinForm = regexp.MustCompile(`^[0-9]{6}$`)

func (q onboardRequest) check() (refused httpapi.Refusal) {
	wrong := func(path string, bad bool, code string) {
		if bad {
			refused = append(refused, httpapi.Problem(path, code))
		}
	}
	wrong("app", q.App == "", "app_missing")
	wrong("app_id", q.AppID != "" && !message.IsNumberID(q.AppID) || q.AppID == "" && q.Code != "", "meta_id_invalid")
	wrong("waba_id", !message.IsNumberID(q.Account), "meta_id_invalid")
	wrong("phone_number_id", !message.IsNumberID(q.Number), "meta_id_invalid")
	wrong("pin", q.PIN != "" && !pinForm.MatchString(string(q.PIN)), "pin_invalid")
	wrong("account_callback", q.AccountCallback.wrong(), "callback_invalid")
	wrong("number_callback", q.NumberCallback.wrong(), "callback_invalid")
	return refused
}

func (t *callback) wrong() bool {
	return t != nil && (t.URL == "" || t.VerifyToken == "" || len(t.URL) > 200)
}

func (t *callback) meta() onboarding.Callback {
	if t == nil {
		return onboarding.Callback{}
	}
	return onboarding.Callback{URL: t.URL, VerifyToken: string(t.VerifyToken)}
}

func (c *Console) onboard(_ context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var q onboardRequest
	refused := httpapi.ReadJSON(w, r, &q)
	if refused == nil {
		refused = append(q.check(), q.admit(key)...)
	}
	if refused != nil {
		return nil, refused
	}
	ctx, cancel := context.WithTimeout(r.Context(), onboardingTimeout)
	defer cancel()
	if err := c.o.Audit.Add(ctx, q.entry(message.VerbOnboard, "number "+q.Number+" of account "+q.Account, key)); err != nil {
		return nil, c.unavailable("write audit log", err)
	}
	c.orders.WithLabelValues(message.VerbOnboard).Inc()
	return c.o.Onboarding.Run(ctx, onboarding.Request{
		App: q.App, AppID: q.AppID, Code: string(q.Code), Account: q.Account, Number: q.Number, PIN: string(q.PIN), Client: q.Client, RateLimit: q.RateLimit,
		AccountHook: q.AccountCallback.meta(), NumberHook: q.NumberCallback.meta(), Change: q.change(0, key),
	}), nil
}

func (q *registrationRequest) check() (refused httpapi.Refusal) {
	if q.Method == "" {
		q.Method = "SMS"
	}
	if q.Language == "" {
		q.Language = "en_US"
	}
	switch q.Action {
	case onboarding.Register, onboarding.SetPIN:
		if !pinForm.MatchString(string(q.PIN)) {
			refused = httpapi.RefuseAt("pin", "pin_invalid")
		}
	case onboarding.VerifyCode:
		if q.Code == "" {
			refused = httpapi.RefuseAt("code", "code_missing")
		}
	case onboarding.RequestCode:
		if q.Method != "SMS" && q.Method != "VOICE" {
			refused = httpapi.RefuseAt("method", "method_unknown")
		}
	case onboarding.Deregister:
	default:
		refused = httpapi.RefuseAt("action", "registration_action_unknown")
	}
	return refused
}

func (c *Console) registration(_ context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	id := r.PathValue("phone_number_id")
	var q registrationRequest
	refused := httpapi.ReadJSON(w, r, &q)
	if refused == nil {
		refused = append(q.check(), q.signed()...)
	}
	if refused == nil {
		refused = c.covered(id, key)
	}
	if refused != nil {
		return nil, refused
	}
	ctx, cancel := context.WithTimeout(r.Context(), onboardingTimeout)
	defer cancel()
	if err := c.o.Audit.Add(ctx, q.entry(message.VerbRegistration, "number "+id+": "+q.Action, key)); err != nil {
		return nil, c.unavailable("write audit log", err)
	}
	c.orders.WithLabelValues(message.VerbRegistration).Inc()
	return c.o.Onboarding.Change(ctx, id, onboarding.Registration{Action: q.Action, PIN: string(q.PIN), Code: string(q.Code), Method: q.Method, Language: q.Language}), nil
}

func (c *Console) onboardingRoutes() []httpapi.Route {
	const about = "Each step first looks at what Meta has. So after a failed step, or when there was no answer, send the same request again: what is done stays done, and the code is not needed again once the access token is stored."
	return []httpapi.Route{
		{
			Method: http.MethodPost, Path: "/v1/onboarding", Name: "onboard", Group: "Numbers", Scope: httpapi.ScopeAdmin,
			Summary: "Connect a number after an Embedded Signup: from its code to a number that can send.", Doc: about + " The API key must be for all numbers. See docs/onboarding.md.",
			Body: &httpapi.Body{Type: onboardRequest{}, Example: `{"app":"main","app_id":"670843887433847","code":"AQBx...","waba_id":"102290129340398","phone_number_id":"106540352242922",` +
				`"pin":"123456","client":"acme","actor":"anna","reason":"a new client"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The steps that were taken. ready is false if one failed.", Type: onboarding.Result{}}},
			Codes:   orderCodes("all_numbers_required", "app_missing", "meta_id_invalid", "pin_invalid", "callback_invalid"), Handler: c.handle(c.onboard),
		},
		{
			Method: http.MethodPost, Path: "/v1/numbers/{phone_number_id}/registration", Name: "changeRegistration", Group: "Numbers", Scope: httpapi.ScopeAdmin,
			Summary: "Register, verify or deregister a number at Meta, or set its PIN.", Doc: "Meta accepts ten registrations and deregistrations of a number in 72 hours. So register does nothing if the number is registered.",
			Params:  []httpapi.Param{{Name: "phone_number_id", In: "path", Doc: "The phone number id.", Example: "106540352242922"}},
			Body:    &httpapi.Body{Type: registrationRequest{}, Example: `{"action":"register","pin":"123456","actor":"anna","reason":"moved from another provider"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "What Meta answered.", Type: onboarding.Step{}}},
			Codes:   orderCodes("phone_number_id_not_found", "registration_action_unknown", "pin_invalid", "code_missing", "method_unknown"), Handler: c.handle(c.registration),
		},
	}
}
