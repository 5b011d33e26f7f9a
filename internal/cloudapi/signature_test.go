package cloudapi_test

import (
	"strings"
	"testing"

	"sluice/internal/cloudapi"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	raw := []byte(`{"object":"whatsapp_business_account","text":"\u00e4\/"}`)
	sig := cloudapi.Sign("new", raw)
	tests := []struct {
		name    string
		header  string
		body    string
		secrets []string
		index   int
		ok      bool
	}{
		{"right", sig, string(raw), []string{"new"}, 0, true},
		{"previous secret", cloudapi.Sign("old", raw), string(raw), []string{"new", "old"}, 1, true},
		{"same secret twice", sig, string(raw), []string{"new", "new"}, 0, true},
		{"upper-case hex", "sha256=" + strings.ToUpper(sig[7:]), string(raw), []string{"new"}, 0, true},
		{"upper-case prefix", strings.ToUpper(sig), string(raw), []string{"new"}, 0, false},
		{"another secret", sig, string(raw), []string{"old"}, 0, false},
		{"no secret", sig, string(raw), nil, 0, false},
		{"empty secret", cloudapi.Sign("", raw), string(raw), []string{""}, 0, false},
		{"body encoded again", sig, `{"object":"whatsapp_business_account","text":"ä/"}`, []string{"new"}, 0, false},
		{"no header", "", string(raw), []string{"new"}, 0, false},
		{"SHA-1", "sha1=" + sig[7:47], string(raw), []string{"new"}, 0, false},
		{"no prefix", sig[7:], string(raw), []string{"new"}, 0, false},
		{"63 digits", sig[:len(sig)-1], string(raw), []string{"new"}, 0, false},
		{"65 digits", sig + "0", string(raw), []string{"new"}, 0, false},
		{"not hex", sig[:len(sig)-1] + "g", string(raw), []string{"new"}, 0, false},
		{"blank before", " " + sig[:len(sig)-1], string(raw), []string{"new"}, 0, false},
	}
	for _, tt := range tests {
		if i, ok := cloudapi.Verify(tt.header, []byte(tt.body), tt.secrets...); i != tt.index || ok != tt.ok {
			t.Errorf("%s: %d, %v", tt.name, i, ok)
		}
	}
	// The test vector of RFC 4231, section 4.3.
	const want = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
	if got := cloudapi.Sign("Jefe", []byte("what do ya want for nothing?")); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(cloudapi.Sign("secret", []byte("body")), []byte("body"))
	f.Add("sha256=", []byte(""))
	f.Add("sha256="+strings.Repeat("zz", 32), []byte("body"))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		_, ok := cloudapi.Verify(header, body, "other", "secret")
		mine := strings.HasPrefix(header, "sha256=") &&
			(strings.EqualFold(header, cloudapi.Sign("secret", body)) || strings.EqualFold(header, cloudapi.Sign("other", body)))
		if ok != mine {
			t.Errorf("%q: %v", header, ok)
		}
	})
}
