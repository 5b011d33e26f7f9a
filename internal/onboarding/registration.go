package onboarding

import (
	"context"
)

// The actions on the registration of a number at Meta.
const (
	Register    = "register"     // registers the number with its PIN, unless it is registered
	Deregister  = "deregister"   // ends the registration: the number cannot send any more
	RequestCode = "request-code" // Meta sends a verification code to the number
	VerifyCode  = "verify-code"  // verifies the number by that code
	SetPIN      = "set-pin"      // sets the PIN of the two-step verification
)

// Registration is an action on the registration of a number at Meta.
type Registration struct {
	Action   string
	PIN      string // of Register and SetPIN: six digits
	Code     string // of VerifyCode
	Method   string // of RequestCode: SMS or VOICE
	Language string // of RequestCode, for example en_US
}

// Change takes an action with the access token of a number. It blocks until Meta answers. An action that is not known is a failed step.
func (b *Onboarding) Change(ctx context.Context, number string, do Registration) Step {
	state, says, err := b.change(ctx, number, do)
	if err != nil {
		return Step{do.Action, Failed, err.Error(), fix(err)}
	}
	return Step{do.Action, state, says, ""}
}

func (b *Onboarding) change(ctx context.Context, number string, do Registration) (State, string, error) {
	token, err := b.o.Token(ctx, number)
	if err != nil {
		return "", "", failed("set the access token of the number", "%w", err)
	}
	r := run{o: b.o, q: Request{Number: number, PIN: do.PIN}, graph: b.o.Graph(token)}
	defer r.graph.Close()
	switch do.Action {
	case Register:
		if r.now, err = r.graph.Number(ctx, number); err != nil {
			return "", "", err
		}
		return r.registration(ctx)
	case Deregister:
		if err := r.count(ctx); err != nil {
			return "", "", err
		}
		return Done, "the number is not registered any more, and cannot send", r.graph.Deregister(ctx, number)
	case RequestCode:
		return Done, "Meta sends a code to the number", r.graph.RequestCode(ctx, number, do.Method, do.Language)
	case VerifyCode:
		return Done, "the number is verified", r.graph.VerifyCode(ctx, number, do.Code)
	case SetPIN:
		return Done, "the PIN is set", r.graph.SetPIN(ctx, number, do.PIN)
	}
	return "", "", failed("use register, deregister, request-code, verify-code or set-pin", "the action is not known")
}
