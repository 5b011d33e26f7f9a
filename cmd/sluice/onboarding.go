package main

import (
	"context"
	"errors"
	"fmt"

	"sluice/internal/onboarding"
)

// onboardCmd connects a number after an Embedded Signup.
type onboardCmd struct {
	numberArg
	App             string    `required:"" help:"Name of the app with which the signup was opened." placeholder:"NAME"`
	AppID           string    `help:"Meta's id of this app. Needed with --code-file." placeholder:"ID"`
	Account         string    `required:"" help:"WhatsApp Business Account id that the signup returned." placeholder:"WABA-ID"`
	CodeFile        secretArg `help:"File with the code that the signup returned, or - for standard input. It is valid for 30 s, once. Without it Sluice uses the access token that the number has." placeholder:"FILE"`
	PINFile         secretArg `help:"File with the PIN of the two-step verification: six digits, the present ones, or new ones if the number has none. Needed unless the number is registered." placeholder:"FILE"`
	Client          *string   `help:"Name of the client that the number belongs to." placeholder:"NAME"`
	RateLimit       *int      `help:"Messages per second, 1 to 10000. Default: as Meta says." placeholder:"N"`
	AccountCallback *string   `help:"URL for the webhooks of the account's messages, in place of that of the app. Needs --verify-token-file." placeholder:"URL"`
	NumberCallback  *string   `help:"URL for the webhooks of the number's messages. Needs --verify-token-file." placeholder:"URL"`
	VerifyTokenFile secretArg `help:"File with the verify token of the callbacks." placeholder:"FILE"`
	signature
	consoleFlags
}

// Run takes the steps and prints them. If one fails, it returns an error.
func (o onboardCmd) Run(ctx context.Context) error {
	code, err := o.CodeFile.read()
	if err != nil {
		return err
	}
	pin, err := o.PINFile.read()
	if err != nil {
		return err
	}
	verify, err := o.VerifyTokenFile.read()
	if err != nil {
		return err
	}
	body := given(map[string]any{
		"app": &o.App, "waba_id": &o.Account, "phone_number_id": &o.ID, "app_id": secretOf(o.AppID), "code": secretOf(code), "pin": secretOf(pin),
		"client": o.Client, "rate_limit": o.RateLimit,
	})
	for name, url := range map[string]*string{"account_callback": o.AccountCallback, "number_callback": o.NumberCallback} {
		if url != nil {
			body[name] = map[string]any{"url": *url, "verify_token": verify}
		}
	}
	ready := false
	err = o.ask(ctx, "POST", "/v1/onboarding", o.order(body), read(func(t table, a onboarding.Result) {
		t.row("STEP", "STATE", "")
		for _, s := range a.Steps {
			showStep(t, s)
		}
		ready = a.Ready
	}))
	if err == nil && !ready {
		err = errors.New("the number is not ready. Repeat the command when you have fixed the failed step: what is done stays done")
	}
	return err
}

func showStep(t table, s onboarding.Step) {
	says := s.Says
	if s.Fix != "" {
		says += ". Fix: " + s.Fix
	}
	t.row(s.Name, string(s.State), says)
}

// registrationFlags are what commands on the registration of a number share.
type registrationFlags struct {
	numberArg
	signature
	consoleFlags
}

// act asks for an action, and returns an error if it failed.
func (f registrationFlags) act(ctx context.Context, action string, more map[string]any) error {
	body := given(more)
	body["action"] = action
	failed := false
	err := kindNumber.order(ctx, f.consoleFlags, f.signature, f.ID, "registration", body, read(func(t table, s onboarding.Step) {
		showStep(t, s)
		failed = s.State == onboarding.Failed
	}))
	if err == nil && failed {
		err = fmt.Errorf("%s failed", action)
	}
	return err
}

type numbersRegisterCmd struct {
	registrationFlags
	PINFile secretArg `required:"" help:"File with the PIN of the two-step verification, six digits, or - for standard input." placeholder:"FILE"`
}

// Run registers the number.
func (n numbersRegisterCmd) Run(ctx context.Context) error {
	return n.withPIN(ctx, onboarding.Register, n.PINFile)
}

func (f registrationFlags) withPIN(ctx context.Context, action string, file secretArg) error {
	pin, err := file.read()
	if err != nil {
		return err
	}
	return f.act(ctx, action, map[string]any{"pin": &pin})
}

type numbersSetPINCmd struct {
	registrationFlags
	PINFile secretArg `required:"" help:"File with the new PIN, six digits, or - for standard input." placeholder:"FILE"`
}

// Run sets the PIN.
func (n numbersSetPINCmd) Run(ctx context.Context) error {
	return n.withPIN(ctx, onboarding.SetPIN, n.PINFile)
}

type numbersDeregisterCmd struct{ registrationFlags }

// Run ends the registration.
func (n numbersDeregisterCmd) Run(ctx context.Context) error {
	return n.act(ctx, onboarding.Deregister, nil)
}

type numbersRequestCodeCmd struct {
	registrationFlags
	Method   *string `help:"SMS, the default, or VOICE." placeholder:"METHOD"`
	Language *string `help:"Default: en_US." placeholder:"LANGUAGE"`
}

// Run lets Meta send a code to the number.
func (n numbersRequestCodeCmd) Run(ctx context.Context) error {
	return n.act(ctx, onboarding.RequestCode, map[string]any{"method": n.Method, "language": n.Language})
}

type numbersVerifyCodeCmd struct {
	registrationFlags
	CodeFile secretArg `required:"" help:"File with the code that the number received, or - for standard input." placeholder:"FILE"`
}

// Run verifies the number.
func (n numbersVerifyCodeCmd) Run(ctx context.Context) error {
	code, err := n.CodeFile.read()
	if err != nil {
		return err
	}
	return n.act(ctx, onboarding.VerifyCode, map[string]any{"code": &code})
}
