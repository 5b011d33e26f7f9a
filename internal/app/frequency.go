package app

import (
	"sluice/internal/frequency"
	"sluice/internal/message"
	"sluice/internal/suppression"
)

// countCancelled returns a function that counts the messages that are cancelled just before they would be sent.
func (w *worker) countCancelled() func(reason string, c message.Class) {
	suppressed, capped := suppression.Counter(w.Registry, suppression.StageSend), frequency.Counter(w.Registry)
	return func(reason string, c message.Class) {
		if reason == message.ReasonFrequency {
			capped(c)
		} else {
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
