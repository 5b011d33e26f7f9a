package directory_test

import (
	"errors"
	"strings"
	"testing"

	"sluice/internal/config"
	"sluice/internal/directory"
)

// TestAutoReply: a process has the automatic replies of a stored number with the secret of the hook, which cannot be read again. A process that
// cannot decrypt the secret does not use the hook. The API key must exist.
func TestAutoReply(t *testing.T) {
	t.Parallel()
	in := setup(t)
	s := in.store(oldKey)
	n := directory.Number{PhoneNumberID: "30", AutoReply: &config.AutoReply{APIKey: "missing", Welcome: "Hi", Hook: &config.ReplyHook{URL: "https://bot.example.com/"}}}
	var invalid *directory.InvalidError
	if _, err := s.Put(t.Context(), n, nil, change); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "auto_reply.api_key: API key missing does not exist") {
		t.Errorf("an unknown API key: %v", err)
	}
	n.AutoReply.APIKey = "first"
	in.put(s, n, directory.Secrets{directory.SecretReplyHook: token}, 0)
	for key, hook := range map[string]bool{oldKey: true, newKey: false} {
		got := in.process(in.store(key)).AutoReply("30")
		if got == nil || got.Welcome != "Hi" || (got.Hook != nil) != hook || hook && got.Hook.Secret != token {
			t.Errorf("with the key %q: %+v", key, got)
		}
	}
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all.Numbers {
		if one.PhoneNumberID == "30" && one.Secrets[directory.SecretReplyHook].Fingerprint != fingerprint {
			t.Errorf("the list has %+v", one.Secrets)
		}
	}
	if in.process(s).AutoReply("10") != nil {
		t.Error("a number without automatic replies has some")
	}
}
