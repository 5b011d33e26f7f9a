package app

import (
	"sluice/internal/frequency"
	"sluice/internal/message"
	"sluice/internal/servicewindow"
	"sluice/internal/suppression"
)

// countEnded returns a function that counts the messages that end just before they would be sent, or get their fallback template.
func (w *worker) countEnded() func(reason string, to message.State, c message.Class) {
	suppressed, capped := suppression.Counter(w.Registry, suppression.StageSend), frequency.Counter(w.Registry)
	outside := servicewindow.Counter(w.Registry, servicewindow.StageSend)
	return func(reason string, to message.State, c message.Class) {
		switch reason {
		case message.ReasonFrequency:
			capped(c)
		case message.ReasonWindow:
			outside(to == message.Queued)
		default:
			suppressed(c)
		}
	}
}

// frequencyCaps returns the frequency caps of all clients, and says in the log if they have no effect.
func (w *worker) frequencyCaps() *frequency.Caps {
	if w.c.SecretsKey == "" {
		for _, client := range w.directory.Clients() {
			if len(w.directory.FrequencyCaps(client)) > 0 {
				w.Log.Error("frequency caps have no effect without a secrets key: set secrets_key_file or SLUICE_SECRETS_KEY, with the same key for all programs", "client", client)
			}
		}
	}
	return frequency.New(w.DB, w.people, w.directory.FrequencyCaps)
}
