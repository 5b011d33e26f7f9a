package intake

import (
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// How this room says no, and yes, in few words.
type refusal = httpapi.Refusal

func refuse(code string) refusal                { return httpapi.Refuse(code) }
func refuseAt(path, code string) refusal        { return httpapi.RefuseAt(path, code) }
func problem(path, code string) message.Problem { return httpapi.Problem(path, code) }
