package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"sluice/internal/cloudapi"
	"sluice/internal/config"
)

// account checks that an account sends its webhooks to the app of a number's token.
func (v *visit) account(ctx context.Context, number, account, app string) {
	if account == "" {
		v.add("account", "", found(Warn, "Meta names no account for the number "+number+", so it is unknown whether its webhooks go to the app", "check with the token: GET /{account}/subscribed_apps must name the app "+app))
		return
	}
	apps, err := v.graph.Subscribed(ctx, number, account)
	switch {
	case err != nil:
		v.add("account", account, why(err))
	case !slices.Contains(apps, app):
		f := found(Fail, "does not send its webhooks to the app "+app+": no statuses come", "subscribe it: POST /"+account+"/subscribed_apps with the token")
		v.add("account", account, v.repair(f, "subscribe the app to the account", func() error {
			return v.graph.Subscribe(ctx, number, account, cloudapi.Callback{}) // without a subscription there is no override that would end
		}))
	default:
		v.add("account", account, found(OK, "sends its webhooks to the app "+app, ""))
	}
}

// repair returns the finding of a check that failed and whose fix is safe, after the fix if --fix asks for it. to says what the fix does.
func (v *visit) repair(f Finding, to string, fix func() error) Finding {
	switch {
	case v.o.DryRun:
		f.Fixed = "would " + to
	case !v.o.Fix:
		f.Fix += "; `sluice doctor --fix` does it"
	default:
		if err := fix(); err != nil {
			f.Says += "; --fix failed: " + err.Error()
			return f
		}
		f = found(OK, f.Says, "")
		f.Fixed = "done: " + to
	}
	return f
}

// app checks where Meta sends the webhooks of an app, and of which fields. It asks with the configured app secret that belongs to
// the app.
func (v *visit) app(ctx context.Context, id string) {
	for _, a := range v.apps() {
		s, err := v.graph.Subscription(ctx, id, string(a.Secret))
		if _, refused := errors.AsType[*cloudapi.Refusal](err); refused {
			continue
		}
		if err != nil {
			v.add("app", id, why(err))
			return
		}
		v.add("app", id, v.judge(s))
		if s.Callback != "" {
			v.fields(ctx, id, a, s)
		}
		return
	}
	v.add("app", id, found(Fail, "no configured app secret belongs to this app: its webhooks are refused", "copy the secret from the basic settings of the app at Meta into the secret_file or APP_SECRET, or store it with `sluice apps rotate`"))
}

// judge checks where Meta sends the webhooks of an app.
func (v *visit) judge(s cloudapi.Subscription) Finding {
	switch {
	case s.Callback == "":
		return found(Fail, "has no webhook for WhatsApp", "enter the public URL of the webhook and the verify token in the WhatsApp configuration of the app at Meta")
	case v.o.WebhookURL != "" && s.Callback != v.o.WebhookURL:
		return found(Warn, "Meta sends to another URL than --webhook-url", "make the two the same, here or in the WhatsApp configuration of the app")
	}
	return found(OK, "has a webhook for WhatsApp", "")
}

// fields checks that an app gets all webhook fields that Sluice uses.
func (v *visit) fields(ctx context.Context, id string, a config.App, s cloudapi.Subscription) {
	missing := cloudapi.MissingFields(s.Fields)
	if v.tracksWindows() && !slices.Contains(s.Fields, cloudapi.CallsField.Name) {
		missing = append(missing, cloudapi.CallsField)
	}
	if len(missing) == 0 {
		v.add("app fields", id, found(OK, "is subscribed to all fields that Sluice uses", ""))
		return
	}
	var names, lacks []string
	for _, f := range missing {
		names = append(names, f.Name)
		lacks = append(lacks, f.Name+" ("+f.For+")")
	}
	level, fix := Warn, "subscribe to them in the WhatsApp configuration of the app at Meta"
	if missing[0] == cloudapi.Fields[0] {
		level = Fail
	}
	f := found(level, "is not subscribed to "+strings.Join(lacks, ", "), fix)
	v.add("app fields", id, v.repair(f, "subscribe the app to "+strings.Join(names, ", "), func() error {
		return v.graph.SubscribeFields(ctx, id, string(a.Secret), cloudapi.Callback{URL: s.Callback, VerifyToken: string(a.VerifyToken)}, slices.Concat(s.Fields, names))
	}))
}

// tracksWindows reports whether a number tracks customer service windows.
func (v *visit) tracksWindows() bool {
	return v.known != nil && slices.ContainsFunc(v.known.Numbers(), v.known.RefusesOutsideWindow)
}

// hook calls the webhook through its public URL, as Meta does.
func (v *visit) hook(ctx context.Context) {
	if v.o.WebhookURL == "" {
		v.add("webhook", "", found(Warn, "is not checked", "give its public URL with --webhook-url"))
		return
	}
	app, err := v.appBehind()
	if err != nil {
		v.add("webhook", "", found(Fail, err.Error(), "let it end in /webhooks/whatsapp/ and the name of the app in the configuration (main, if the app is set by environment variables)"))
		return
	}
	if u, _ := url.Parse(v.o.WebhookURL); u.Scheme != "https" {
		v.add("webhook https", app.Name, found(Warn, "the URL is not https, and Meta calls only https", "put a proxy with a certificate in front of the webhook"))
	}
	challenge := rand.Text()
	taken, status, err := v.graph.Handshake(ctx, v.o.WebhookURL, string(app.VerifyToken), challenge)
	if err != nil {
		v.add("webhook", app.Name, found(Fail, "does not answer: "+err.Error(), "let the proxy pass GET and POST from everywhere to port 8090 of the webhook, with a certificate of a known authority"))
		return
	}
	if taken {
		v.add("webhook handshake", app.Name, found(OK, "the verify token is accepted", ""))
	} else {
		v.add("webhook handshake", app.Name, found(Fail, fmt.Sprintf("answered %d without the challenge: %s", status, means(status)), "give the webhook program the same verify token as here, and let the proxy pass the query"))
	}
	v.signed(ctx, app)
}

// nothing is a webhook that the webhook program accepts and does not store: it is not about WhatsApp.
const nothing = `{"object":"sluice_doctor","entry":[]}`

// signed sends a webhook with the right signature, and one with a wrong one.
func (v *visit) signed(ctx context.Context, app config.App) {
	for _, t := range []struct {
		check, secret string
		want          int
		fix           string
	}{
		{"webhook signed", string(app.Secret), http.StatusOK, "give the webhook program the same app secret as here, and let the proxy pass the body and its headers as they are"},
		{"webhook forged", rand.Text(), http.StatusUnauthorized, "let the URL lead to Sluice's webhook program: it refuses what Meta did not sign"},
	} {
		status, err := v.graph.Notify(ctx, v.o.WebhookURL, cloudapi.Sign(t.secret, []byte(nothing)), nothing)
		switch {
		case err != nil:
			v.add(t.check, app.Name, found(Fail, "no answer: "+err.Error(), t.fix))
		case status != t.want:
			v.add(t.check, app.Name, found(Fail, fmt.Sprintf("answered %d, must be %d: %s", status, t.want, means(status)), t.fix))
		default:
			v.add(t.check, app.Name, found(OK, fmt.Sprintf("answered %d", status), ""))
		}
	}
}

// means says what an answer of a webhook means.
func means(status int) string {
	switch {
	case status == http.StatusOK:
		return "the program that answers does not check the signature or the verify token"
	case status == http.StatusUnauthorized:
		return "the signature is not accepted"
	case status == http.StatusForbidden:
		return "the verify token is not accepted"
	case status == http.StatusNotFound:
		return "there is nothing at this path, or the app has another name there"
	case status >= 300 && status < 400:
		return "Meta follows no redirects"
	case status >= 500:
		return "the webhook is down, or its Redis is"
	}
	return "the program that answers is not Sluice's webhook"
}

// appBehind returns the app that the URL names.
func (v *visit) appBehind() (config.App, error) {
	u, err := url.Parse(v.o.WebhookURL)
	if err != nil || u.Host == "" || !strings.HasPrefix(u.Scheme, "http") {
		return config.App{}, errors.New("--webhook-url is not a URL")
	}
	name := path.Base(u.Path)
	for _, a := range v.apps() {
		if a.Name == name {
			return a, nil
		}
	}
	return config.App{}, errors.New("--webhook-url does not end in the name of a configured app")
}
