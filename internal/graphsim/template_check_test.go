package graphsim_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sluice/internal/graphsim"
)

func raw(components ...string) (all []json.RawMessage) {
	for _, c := range components {
		all = append(all, json.RawMessage(c))
	}
	return all
}

var registry = []graphsim.Template{
	{Name: "free"}, // takes any parameters
	{Name: "shipped", Components: raw(
		`{"type":"HEADER","format":"TEXT","text":"Order {{1}}"}`, `{"type":"BODY","text":"Hi {{1}}, order {{2}} is on its way, {{1}}."}`,
		`{"type":"FOOTER","text":"Bye"}`, `{"type":"BUTTONS","buttons":[{"type":"QUICK_REPLY","text":"Ok"},{"type":"URL","text":"Track","url":"https://example.com/{{1}}"}]}`,
	)},
	{Name: "plain", Components: raw(`{"type":"BODY","text":"Hello"}`)},
	{Name: "parcel", Components: raw(`{"type":"HEADER","format":"IMAGE"}`, `{"type":"BODY","text":"Here"}`)},
	{Name: "named", Format: "NAMED", Components: raw(`{"type":"BODY","text":"Hi {{first_name}}"}`)},
	{Name: "code", Category: "AUTHENTICATION", Components: raw(
		`{"type":"BODY","add_security_recommendation":true}`, `{"type":"BUTTONS","buttons":[{"type":"OTP","otp_type":"COPY_CODE"}]}`)},
	{Name: "coupon", Components: raw(`{"type":"BODY","text":"x"}`, `{"type":"BUTTONS","buttons":[{"type":"COPY_CODE"},{"type":"URL","url":"https://example.com"}]}`)},
	{Name: "offer", Components: raw(`{"type":"BODY","text":"x"}`, `{"type":"LIMITED_TIME_OFFER","limited_time_offer":{"text":"x"}}`)},
	{Name: "cards", Components: raw(`{"type":"BODY","text":"x"}`,
		`{"type":"CAROUSEL","cards":[{"components":[{"type":"HEADER","format":"IMAGE"},{"type":"BODY","text":"{{1}}"}]},{"components":[{"type":"HEADER","format":"IMAGE"},{"type":"BODY","text":"{{1}}"}]}]}`)},
	{Name: "paused", Status: "PAUSED"},
	{Name: "disabled", Status: "DISABLED"},
	{Name: "rejected", Status: "REJECTED"},
	{Name: "pending", Status: "PENDING"},
	{Name: "flagged", Status: "FLAGGED"},
}

func texts(of string, values ...string) string {
	var all []string
	for _, v := range values {
		all = append(all, fmt.Sprintf(`{"type":"text","text":%q}`, v))
	}
	return fmt.Sprintf(`{"type":%q,"parameters":[%s]}`, of, strings.Join(all, ","))
}

func urlButton(index int, value string) string {
	return fmt.Sprintf(`{"type":"button","sub_type":"url","index":"%d","parameters":[{"type":"text","text":%q}]}`, index, value)
}

func card(index int, text string) string {
	return fmt.Sprintf(`{"card_index":%d,"components":[{"type":"header","parameters":[{"type":"image","image":{"id":"1"}}]},%s]}`, index, texts("body", text))
}

func TestTemplatesAreJudged(t *testing.T) {
	t.Parallel()
	const to, user = `"to":"+16505551234"`, `"recipient":"US.1349"`
	image := `{"type":"header","parameters":[{"type":"image","image":{"id":"1"}}]}`
	b := setup(t, graphsim.Options{Account: graphsim.Account{Templates: registry}})
	for _, c := range []struct {
		name, to   string
		language   string
		components []string
		status     int
		code       int
		details    string
	}{
		{"free", to, "en_US", []string{texts("body", "any", "number")}, 200, 0, ""},
		{"shipped", to, "en_US", []string{texts("header", "1"), texts("body", "a", "b"), urlButton(1, "x")}, 200, 0, ""},
		{"plain", to, "en_US", nil, 200, 0, ""},
		{"parcel", to, "en_US", []string{image}, 200, 0, ""},
		{"named", to, "en_US", []string{`{"type":"body","parameters":[{"type":"text","parameter_name":"first_name","text":"x"}]}`}, 200, 0, ""},
		{"code", to, "en_US", []string{texts("body", "123456"), urlButton(0, "123456")}, 200, 0, ""},
		{"offer", to, "en_US", []string{`{"type":"limited_time_offer","parameters":[{"type":"limited_time_offer","limited_time_offer":{"expiration_time_ms":1893456000000}}]}`}, 200, 0, ""},
		{"cards", to, "en_US", []string{`{"type":"carousel","cards":[` + card(0, "a") + `,` + card(1, "b") + `]}`}, 200, 0, ""},
		{"flagged", to, "en_US", nil, 200, 0, ""},

		{"unknown", to, "en_US", nil, 404, 132001, "template name (unknown) does not exist in en_US"},
		{"plain", to, "de", nil, 404, 132001, "template name (plain) does not exist in de"},
		{"pending", to, "en_US", nil, 404, 132001, "not approved"},
		{"rejected", to, "en_US", nil, 404, 132001, "not approved"},
		{"paused", to, "en_US", nil, 400, 132015, ""},
		{"disabled", to, "en_US", nil, 400, 132016, ""},
		{"shipped", to, "en_US", []string{texts("header", "1"), texts("body", "a"), urlButton(1, "x")}, 400, 132000, "body: number of localizable_params (1) does not match the expected number of params (2)"},
		{"shipped", to, "en_US", []string{texts("body", "a", "b"), urlButton(1, "x")}, 400, 132000, "header: number of localizable_params (0)"},
		{"shipped", to, "en_US", []string{texts("header", "1"), texts("body", "a", "b")}, 400, 131008, "Button at index 1 of type URL requires a parameter"},
		{"shipped", to, "en_US", []string{texts("header", "1"), texts("body", "a", "b"), urlButton(1, "x"), urlButton(2, "x")}, 400, 132018, "there is no button at index 2"},
		{"shipped", to, "en_US", []string{texts("header", "1"), texts("body", "a", strings.Repeat("x", 1024)), urlButton(1, "x")}, 400, 132005, "at most 1024"},
		{"plain", to, "en_US", []string{texts("body", "a")}, 400, 132000, "body: number of localizable_params (1) does not match the expected number of params (0)"},
		{"plain", to, "en_US", []string{texts("header", "a")}, 400, 132000, "header: number of localizable_params (1)"},
		{"parcel", to, "en_US", nil, 400, 132012, "header: Format mismatch, expected IMAGE, received UNKNOWN"},
		{"parcel", to, "en_US", []string{texts("header", "x")}, 400, 132012, "received TEXT"},
		{"named", to, "en_US", []string{`{"type":"body","parameters":[{"type":"text","parameter_name":"name","text":"x"}]}`}, 400, 132012, "parameter_name"},
		{"code", to, "en_US", []string{texts("body", "123456")}, 400, 131008, "requires a parameter"},
		{"code", user, "en_US", []string{texts("body", "123456"), urlButton(0, "123456")}, 400, 131062, ""},
		{"coupon", to, "en_US", nil, 400, 131008, "index 0"},
		{"coupon", to, "en_US", []string{`{"type":"button","sub_type":"copy_code","index":"0","parameters":[{"type":"coupon_code","coupon_code":"AB12"}]}`, urlButton(1, "x")}, 400, 132018, "takes no parameter"},
		{"offer", to, "en_US", nil, 400, 131008, "expiration_time_ms"},
		{"cards", to, "en_US", []string{`{"type":"carousel","cards":[` + card(0, "a") + `,` + card(1, "b") + `,` + card(2, "c") + `]}`}, 400, 132018, "3 cards"},
		{"cards", to, "en_US", []string{`{"type":"carousel","cards":[` + card(0, "a") + `,{"card_index":1,"components":[` + image + `]}]}`}, 400, 132000, "carousel: card 1: body"},
	} {
		a := b.send(c.to + fmt.Sprintf(`,"type":"template","template":{"name":%q,"language":{"code":%q},"components":[%s]}`,
			c.name, c.language, strings.Join(c.components, ",")))
		if a.Status != c.status || a.Error.Code != c.code || !strings.Contains(a.Error.Data.Details, c.details) {
			t.Errorf("%s in %s with %s: %d %s, want %d with code %d and %q", c.name, c.language, c.components, a.Status, a.Raw, c.status, c.code, c.details)
		}
	}
}
