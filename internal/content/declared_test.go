package content_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/internal/content"
	"sluice/internal/golden"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// declaredCase is a message with some components and the template that it is for.
type declaredCase struct {
	name       string
	t          message.Template
	components string
	path, code string // of the problem; code empty: it passes
	meta       int
}

func declaredCases() []declaredCase {
	const (
		body   = `{"type":"body","parameters":[{"type":"text","text":"Jo"},{"type":"text","text":"5"}]}`
		named  = `{"type":"body","parameters":[{"type":"text","parameter_name":"first_name","text":"Jo"}]}`
		url    = `{"type":"button","sub_type":"url","index":"0","parameters":[{"type":"text","text":"abc"}]}`
		image  = `{"type":"header","parameters":[{"type":"image","image":{"id":"1"}}]}`
		coupon = `{"type":"button","sub_type":"copy_code","index":"1","parameters":[{"type":"coupon_code","coupon_code":"SAVE"}]}`
		offer  = `{"type":"limited_time_offer","parameters":[{"type":"limited_time_offer","limited_time_offer":{"expiration_time_ms":1893456000000}}]}`
	)
	card := func(n, header string) string {
		return `{"card_index":` + n + `,"components":[` + header + `,` + url + `]}`
	}
	cards := func(all ...string) string { return `{"type":"carousel","cards":[` + strings.Join(all, ",") + `]}` }
	code := func(text, button string) string {
		return `{"type":"body","parameters":[{"type":"text","text":"` + text + `"}]},{"type":"button","sub_type":"url","index":"0","parameters":[{"type":"text","text":"` + button + `"}]}`
	}
	two := &message.TemplateParts{Body: []string{"1", "2"}}
	buttons := &message.TemplateParts{Buttons: []message.TemplateButton{{Type: "URL", Variable: true}, {Type: "COPY_CODE"}, {Type: "QUICK_REPLY"}, {Type: "URL"}}}
	carousel := &message.TemplateParts{Cards: []message.TemplateParts{
		{Header: "IMAGE", Buttons: []message.TemplateButton{{Type: "URL", Variable: true}}}, {Header: "IMAGE", Buttons: []message.TemplateButton{{Type: "URL", Variable: true}}},
	}}
	otp := &message.TemplateParts{Body: []string{"1"}, Buttons: []message.TemplateButton{{Type: "OTP"}}}
	return []declaredCase{
		{"all parameters", message.Template{Parts: two}, body, "", "", 0},
		{"unknown parts", message.Template{}, image, "", "", 0},
		{"a new status", message.Template{Status: "GLOWING", Parts: two}, body, "", "", 0},
		{"flagged", message.Template{Status: "FLAGGED", Parts: two}, body, "", "", 0},
		{"paused", message.Template{Status: "PAUSED"}, body, "template.name", "template_paused", 132015},
		{"disabled", message.Template{Status: "DISABLED"}, body, "template.name", "template_disabled", 132016},
		{"rejected", message.Template{Status: "REJECTED"}, body, "template.name", "template_not_approved", 132001},
		{"archived", message.Template{Status: "ARCHIVED"}, body, "template.name", "template_not_approved", 132001},
		{"one parameter too few", message.Template{Parts: &message.TemplateParts{Body: []string{"1", "2", "3"}}}, body, "template.components[0].parameters", "template_parameter_count", 132000},
		{"one too many", message.Template{Parts: &message.TemplateParts{Body: []string{"1"}}}, body, "template.components[0].parameters", "template_parameter_count", 132000},
		{"no body", message.Template{Parts: two}, "", "template.components", "template_parameter_count", 132000},
		{"a header that is not there", message.Template{Parts: &message.TemplateParts{}}, `{"type":"header","parameters":[{"type":"text","text":"a"}]}`, "template.components[0].parameters", "template_parameter_count", 132000},
		{"an image in the body", message.Template{Parts: &message.TemplateParts{Body: []string{"1"}}}, strings.Replace(image, "header", "body", 1), "template.components[0].parameters[0].type", "template_parameter_kind", 132012},
		{"names", message.Template{Named: true, Parts: &message.TemplateParts{Body: []string{"first_name"}}}, named, "", "", 0},
		{"another name", message.Template{Named: true, Parts: &message.TemplateParts{Body: []string{"last_name"}}}, named, "template.components[0].parameters[0].parameter_name", "template_parameter_name_unknown", 132012},
		{"positions for names", message.Template{Named: true, Parts: two}, body, "template.components[0].parameters[0]", "template_parameter_name_missing", 132012},
		{"names for positions", message.Template{Parts: &message.TemplateParts{Body: []string{"1"}}}, named, "template.components[0].parameters[0].parameter_name", "template_parameter_name_not_allowed", 132012},
		{"an image header", message.Template{Parts: &message.TemplateParts{Header: "IMAGE"}}, image, "", "", 0},
		{"a header of another kind", message.Template{Parts: &message.TemplateParts{Header: "VIDEO"}}, image, "template.components[0].parameters[0].type", "template_parameter_kind", 132012},
		{"no media", message.Template{Parts: &message.TemplateParts{Header: "VIDEO"}}, "", "template.components", "template_header_missing", 132012},
		{"a header of a new kind", message.Template{Parts: &message.TemplateParts{Header: "HOLOGRAM"}}, image, "", "", 0},
		{"buttons", message.Template{Parts: buttons}, url + "," + coupon, "", "", 0},
		{"no URL suffix", message.Template{Parts: buttons}, coupon, "template.components", "template_button_missing", 131008},
		{"no coupon code", message.Template{Parts: buttons}, url, "template.components", "template_button_missing", 131008},
		{"a button that is not there", message.Template{Parts: buttons}, url + "," + coupon + "," + strings.Replace(url, `"0"`, `"4"`, 1), "template.components[2].index", "template_button_index_unknown", 132018},
		{"another kind of button", message.Template{Parts: buttons}, url + "," + coupon + "," + strings.Replace(url, `"0"`, `"2"`, 1), "template.components[2].sub_type", "template_button_sub_type_mismatch", 132018},
		{"a fixed URL", message.Template{Parts: buttons}, url + "," + coupon + "," + strings.Replace(url, `"0"`, `"3"`, 1), "template.components[2].parameters", "template_button_parameters_not_allowed", 132018},
		{"an offer", message.Template{Parts: &message.TemplateParts{Offer: true}}, offer, "", "", 0},
		{"no offer", message.Template{Parts: &message.TemplateParts{Offer: true}}, "", "template.components", "template_offer_component_missing", 131008},
		{"cards", message.Template{Parts: carousel}, cards(card("0", image), card("1", image)), "", "", 0},
		{"too many cards", message.Template{Parts: carousel}, cards(card("0", image), card("1", image), card("2", image)), "template.components[0].cards", "template_card_count", 132018},
		{"no cards", message.Template{Parts: carousel}, "", "template.components", "template_card_count", 132018},
		{"a card of another kind", message.Template{Parts: carousel}, cards(card("0", image), card("1", strings.ReplaceAll(image, "image", "video"))), "template.components[0].cards[1].components[0].parameters[0].type", "template_parameter_kind", 132012},
		{"a code", message.Template{Category: "AUTHENTICATION", Parts: otp}, code("123456", "123456"), "", "", 0},
		{"two codes", message.Template{Category: "AUTHENTICATION", Parts: otp}, code("123456", "654321"), "template.components[1].parameters[0].text", "template_code_mismatch", 132018},
		{"a long code", message.Template{Category: "AUTHENTICATION", Parts: otp}, code("1234567890123456", "1234567890123456"), "template.components[0].parameters[0].text", "template_code_too_long", 132018},
		{"a code without its button", message.Template{Category: "AUTHENTICATION", Parts: otp}, strings.Split(code("1", "1"), `,{"type":"button"`)[0], "template.components", "template_button_missing", 131008},
	}
}

// problems returns what is wrong with the message, which is valid by itself.
func (c declaredCase) problems(t *testing.T) []message.Problem {
	t.Helper()
	d := valueOf(t, `{"to":"+15551234567","type":"template","template":{"name":"sale","language":{"code":"en"},"components":[`+c.components+`]}}`)
	if _, problems := content.Check(d); len(problems) > 0 {
		t.Fatalf("the message itself: %+v", problems)
	}
	return content.CheckTemplate(d, &c.t)
}

// TestDeclaredTemplates: a message that does not fit its template is refused with the field and Meta's code, and one that fits
// passes.
func TestDeclaredTemplates(t *testing.T) {
	t.Parallel()
	for _, tt := range declaredCases() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			problems := tt.problems(t)
			if tt.code == "" {
				if len(problems) > 0 {
					t.Errorf("%+v", problems)
				}
				return
			}
			if len(problems) == 0 || problems[0].Code != tt.code || problems[0].Path != tt.path || problems[0].Fix == "" {
				t.Fatalf("%+v, want %s at %s", problems, tt.code, tt.path)
			}
			if meta, _ := content.MetaCode(tt.code); meta != tt.meta {
				t.Errorf("Meta's code is %d, want %d", meta, tt.meta)
			}
		})
	}
}

// TestTemplateRecipient: an authentication template goes to a phone number, not to a user id.
func TestTemplateRecipient(t *testing.T) {
	t.Parallel()
	problems := toUser(t)
	if len(problems) != 1 || problems[0].Code != "template_recipient_invalid" || problems[0].Path != "recipient" {
		t.Errorf("%+v", problems)
	}
}

// TestTemplateForMarketing: only a template of the category MARKETING goes to the Marketing Messages API.
func TestTemplateForMarketing(t *testing.T) {
	t.Parallel()
	for category, want := range map[string]int{"UTILITY": 1, "MARKETING": 0, "": 0} {
		problems := forMarketing(t, category)
		if len(problems) != want || want > 0 && (problems[0].Code != "template_category_not_marketing" || problems[0].Path != "product_policy") {
			t.Errorf("category %q: %+v", category, problems)
		}
	}
	if code, _ := content.MetaCode("template_category_not_marketing"); code != 134100 {
		t.Errorf("Meta's code is %d", code)
	}
}

// TestWithPolicy: a stored message with a policy is one for the Marketing Messages API, with all its members.
func TestWithPolicy(t *testing.T) {
	t.Parallel()
	stored, err := content.Payload([]byte(`{"type":"template","template":{"name":"sale"}}`), "+15551234567")
	if err != nil {
		t.Fatal(err)
	}
	no := false
	for want, sharing := range map[string]*bool{
		`{"messaging_product":"whatsapp","product_policy":"STRICT","to":"+15551234567","type":"template","template":{"name":"sale"}}`:                                  nil,
		`{"messaging_product":"whatsapp","product_policy":"STRICT","message_activity_sharing":false,"to":"+15551234567","type":"template","template":{"name":"sale"}}`: &no,
	} {
		if got := content.WithPolicy(stored, content.StrictPolicy, sharing); string(got) != want || !content.ForMarketing(got) || content.ForMarketing(stored) {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

// forMarketing returns what is wrong with a message for the Marketing Messages API whose template has a category.
func forMarketing(t *testing.T, category string) []message.Problem {
	t.Helper()
	d := valueOf(t, `{"to":"+15551234567","product_policy":"STRICT","type":"template","template":{"name":"sale","language":{"code":"en"}}}`)
	return content.CheckTemplate(d, &message.Template{Category: category})
}

// toUser returns what is wrong with an authentication template to a user id.
func toUser(t *testing.T) []message.Problem {
	t.Helper()
	d := valueOf(t, `{"recipient":"US.13491208655302741918","type":"template","template":{"name":"code","language":{"code":"en"}}}`)
	return content.CheckTemplate(d, &message.Template{Category: "AUTHENTICATION"})
}

func TestNoTemplate(t *testing.T) {
	t.Parallel()
	d := valueOf(t, `{"to":"+15551234567","type":"template","template":{"name":"sale","language":{"code":"en"}}}`)
	if p := content.NoTemplate(d, nil); len(p) != 1 || p[0].Code != "template_unknown" || p[0].Path != "template.name" {
		t.Errorf("%+v", p)
	}
	p := content.NoTemplate(d, []string{"de", "fr"})
	if len(p) != 1 || p[0].Code != "template_language_unknown" || p[0].Path != "template.language.code" || !strings.Contains(p[0].Detail, "de or fr") {
		t.Errorf("%+v", p)
	}
}

func valueOf(t *testing.T, object string) jsondoc.Value {
	t.Helper()
	d := new(jsondoc.Doc)
	if err := d.Read(object); err != nil {
		t.Fatal(err)
	}
	return d.Root()
}

// TestTemplatesPage: docs/templates.md has a table of all that a message with a known template is refused for, with the member and
// what to do.
func TestTemplatesPage(t *testing.T) {
	t.Parallel()
	members := map[string][]string{} // by code
	add := func(problems []message.Problem) {
		for _, p := range problems {
			if path := "`" + index.ReplaceAllString(p.Path, "[]") + "`"; !slices.Contains(members[p.Code], path) {
				members[p.Code] = append(members[p.Code], path)
			}
		}
	}
	unknown := valueOf(t, `{"to":"+15551234567","type":"template","template":{"name":"sale","language":{"code":"en"}}}`)
	add(content.NoTemplate(unknown, nil))
	add(content.NoTemplate(unknown, []string{"de"}))
	add(toUser(t))
	add(forMarketing(t, "UTILITY"))
	for _, c := range declaredCases() {
		add(c.problems(t))
	}
	table := "| what is refused | member | code | Meta's code | what to do |\n| --- | --- | --- | --- | --- |\n"
	for _, r := range content.Rules() {
		if !r.Declared {
			continue
		}
		if members[r.Code] == nil {
			t.Errorf("no case for %s", r.Code)
		}
		meta, _ := content.MetaCode(r.Code)
		table += fmt.Sprintf("| %s | %s | `%s` | %d | %s |\n", r.Detail, strings.Join(members[r.Code], ", "), r.Code, meta, r.Fix)
	}
	path := filepath.Join("..", "..", "docs", "templates.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "<!-- The table is made from internal/content by: make docs -->\n\n"
	before, rest, found := strings.Cut(string(page), mark)
	_, after, _ := strings.Cut(rest, "\n\n")
	if !found {
		t.Fatalf("%s has no line %s", path, mark)
	}
	golden.File(t, path, []byte(before+mark+table+"\n"+after))
}
