package message_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"sluice/internal/message"
)

// to begins most objects below: they differ in what follows it.
const to = `{"to":"+15551234567",`

// n makes a string of n code points of which each has four bytes.
func n(length int) string { return strings.Repeat("😀", length) }

// refusals returns "path code" of each problem.
func refusals(problems []message.Problem) []string {
	var all []string
	for _, p := range problems {
		all = append(all, p.Path+" "+p.Code)
	}
	return all
}

// check is one object and what Parse must say of it; no wants means that it passes.
type check struct {
	name   string
	object string
	want   []string
}

func run(t *testing.T, checks []check) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, problems := message.Parse(json.RawMessage(c.object))
			if got := refusals(problems); !reflect.DeepEqual(got, c.want) {
				t.Errorf("problems:\n got %q\nwant %q", got, c.want)
			}
			for _, p := range problems {
				if p.Detail == "" || p.Fix == "" {
					t.Errorf("%s at %s tells too little: %+v", p.Code, p.Path, p)
				}
			}
		})
	}
}

func TestParseReadsContent(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		object string
		want   message.Content
	}{
		{
			"text", to + `"type":"text","text":{"body":"hi"},"biz_opaque_callback_data":"order 7"}`,
			message.Content{Type: "text", To: "+15551234567", Callback: "order 7"},
		},
		{
			"template", to + `"type":"template","template":{"name":"order_update","language":{"code":"en_US"}}}`,
			message.Content{Type: "template", To: "+15551234567", Template: "order_update", Language: "en_US"},
		},
		{
			"group", `{"recipient_type":"group","to":"Y2FwaV9ncm91cA","type":"text","text":{"body":"hi"}}`,
			message.Content{Type: "text", To: "Y2FwaV9ncm91cA", Group: true},
		},
		{
			"user id", `{"recipient":"US.13491208655302741918","type":"text","text":{"body":"hi"}}`,
			message.Content{Type: "text", UserID: "US.13491208655302741918"},
		},
		{
			"both recipients", to + `"recipient":"US.ENT.1349","type":"text","text":{"body":"hi"}}`,
			message.Content{Type: "text", To: "+15551234567", UserID: "US.ENT.1349"},
		},
		{
			"formatted number", `{"to":"+1 (555) 123-45.67","type":"text","text":{"body":"hi"}}`,
			message.Content{Type: "text", To: "+15551234567"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, problems := message.Parse(json.RawMessage(c.object))
			if problems != nil || got != c.want {
				t.Errorf("got %+v %q, want %+v", got, refusals(problems), c.want)
			}
		})
	}
}

func TestParseCommon(t *testing.T) {
	t.Parallel()
	const hi = `"type":"text","text":{"body":"hi"}}`
	recipient := func(s string) string { return `{"to":` + s + `,` + hi }
	run(t, []check{
		{"not json", `{`, []string{" json_invalid"}},
		{"array", `[]`, []string{" type_mismatch"}},
		{"type missing", to + `"text":{"body":"hi"}}`, []string{"type type_unknown"}},
		{"type unknown", to + `"type":"telegram"}`, []string{"type type_unknown"}},
		{"type number", to + `"type":7}`, []string{"type type_mismatch"}},
		{"content missing", to + `"type":"text"}`, []string{"text content_missing"}},
		{"content null", to + `"type":"text","text":null}`, []string{"text content_missing"}},
		{"two contents", to + `"image":{"id":"1"},` + hi, []string{"image content_ambiguous"}},
		{"second content null", to + `"image":null,` + hi, nil},
		{"unknown members pass", to + `"new":{"huge":1e999},"type":"text","text":{"body":"hi","new":[null]}}`, nil},
		{"recipient missing", `{` + hi, []string{"to recipient_missing"}},
		{"to empty", recipient(`""`), []string{"to recipient_invalid"}},
		{"to without plus", recipient(`"15551234567"`), []string{"to recipient_needs_plus"}},
		{"to begins with 0", recipient(`"+0123"`), []string{"to recipient_invalid"}},
		{"to 15 digits", recipient(`"+123456789012345"`), nil},
		{"to 16 digits", recipient(`"+1234567890123456"`), []string{"to recipient_invalid"}},
		{"to 7 digits", recipient(`"+1234567"`), nil},
		{"to 6 digits", recipient(`"+123456"`), []string{"to recipient_invalid"}},
		{"to number", recipient(`15551234567`), []string{"to type_mismatch"}},
		{"to Arabic digits", recipient(`"+١٥٥٥١٢٣٤٥٦٧"`), []string{"to recipient_invalid"}},
		{"to with letters", recipient(`"+1555CALLNOW"`), []string{"to recipient_invalid"}},
		{"to two pluses", recipient(`"++15551234567"`), []string{"to recipient_invalid"}},
		{"user id without country", `{"recipient":"13491208",` + hi, []string{"recipient recipient_invalid"}},
		{"user id 128", `{"recipient":"US.` + strings.Repeat("7", 128) + `",` + hi, nil},
		{"user id 129", `{"recipient":"US.` + strings.Repeat("7", 129) + `",` + hi, []string{"recipient recipient_invalid"}},
		{"recipient type person", to + `"recipient_type":"individual",` + hi, nil},
		{"recipient type unknown", to + `"recipient_type":"crowd",` + hi, []string{"recipient_type value_not_allowed"}},
		{"group id with space", `{"recipient_type":"group","to":"a b",` + hi, []string{"to recipient_invalid"}},
		{"group id 256", `{"recipient_type":"group","to":"` + strings.Repeat("g", 256) + `",` + hi, nil},
		{"group id 257", `{"recipient_type":"group","to":"` + strings.Repeat("g", 257) + `",` + hi, []string{"to recipient_invalid"}},
		{"product", to + `"messaging_product":"whatsapp",` + hi, nil},
		{"other product", to + `"messaging_product":"telegram",` + hi, []string{"messaging_product value_not_allowed"}},
		{"callback data 512", to + `"biz_opaque_callback_data":"` + n(512) + `",` + hi, nil},
		{"callback data 513", to + `"biz_opaque_callback_data":"` + n(513) + `",` + hi, []string{"biz_opaque_callback_data callback_data_too_long"}},
		{"quote", to + `"context":{"message_id":"wamid.x"},` + hi, nil},
		{"quote of nothing", to + `"context":{},` + hi, []string{"context.message_id context_message_id_empty"}},
		{"quote no object", to + `"context":"wamid.x",` + hi, []string{"context type_mismatch"}},
		{
			"several at once", `{"to":"15551234567","type":"text","text":{"body":" ","preview_url":"yes"}}`,
			[]string{"to recipient_needs_plus", "text.body text_empty", "text.preview_url type_mismatch"},
		},
		// Other types are Meta's to judge, but for what all types share.
		{"video", to + `"type":"video","video":{"id":"1"}}`, nil},
		{"audio", to + `"type":"audio","audio":{"link":"https://example.com/a.ogg","voice":true}}`, nil},
		{"sticker", to + `"type":"sticker","sticker":{"id":"1"}}`, nil},
		{"location", to + `"type":"location","location":{"latitude":1.5,"longitude":"2.5"}}`, nil},
		{"contacts", to + `"type":"contacts","contacts":[{"name":{"formatted_name":"Jo","first_name":"Jo"}}]}`, nil},
		{"reaction", to + `"type":"reaction","reaction":{"message_id":"wamid.x","emoji":""}}`, nil},
		{"pin", `{"recipient_type":"group","to":"g1","type":"pin","pin":{"type":"unpin","message_id":"wamid.x"}}`, nil},
		{"video without recipient", `{"type":"video","video":{"id":"1"}}`, []string{"to recipient_missing"}},
	})
}

func TestParseText(t *testing.T) {
	t.Parallel()
	body := func(s string) string { return to + `"type":"text","text":{"body":"` + s + `"}}` }
	run(t, []check{
		{"4096 emoji", body(n(4096)), nil},
		{"4097", body(strings.Repeat("a", 4097)), []string{"text.body text_too_long"}},
		{"empty", body(""), []string{"text.body text_empty"}},
		{"spaces", body(`  \n\t`), []string{"text.body text_empty"}},
		{"missing", to + `"type":"text","text":{}}`, []string{"text.body text_empty"}},
		{"number", to + `"type":"text","text":{"body":1}}`, []string{"text.body type_mismatch"}},
		{"no object", to + `"type":"text","text":"hi"}`, []string{"text type_mismatch"}},
		{"preview", to + `"type":"text","text":{"body":"hi","preview_url":true}}`, nil},
	})
}

func TestParseMedia(t *testing.T) {
	t.Parallel()
	image := func(s string) string { return to + `"type":"image","image":` + s + `}` }
	document := func(s string) string { return to + `"type":"document","document":` + s + `}` }
	run(t, []check{
		{"id", image(`{"id":"123"}`), nil},
		{"link", image(`{"link":"https://example.com/a.png"}`), nil},
		{"both", image(`{"id":"123","link":"https://example.com/a.png"}`), []string{"image media_ambiguous"}},
		{"neither", image(`{"caption":"x"}`), []string{"image media_missing"}},
		{"id empty", image(`{"id":""}`), []string{"image.id media_id_empty"}},
		{"id number", image(`{"id":123}`), []string{"image.id type_mismatch"}},
		{"link number", image(`{"link":123}`), []string{"image.link type_mismatch"}},
		{"no object", image(`"123"`), []string{"image type_mismatch"}},
		{"caption 1024", image(`{"id":"1","caption":"` + n(1024) + `"}`), nil},
		{"caption 1025", image(`{"id":"1","caption":"` + n(1025) + `"}`), []string{"image.caption caption_too_long"}},
		{"document", document(`{"link":"https://example.com/a.pdf","filename":"a.pdf","caption":"bill"}`), nil},
		{"document caption 1025", document(`{"id":"1","caption":"` + n(1025) + `"}`), []string{"document.caption caption_too_long"}},
		{"document filename", document(`{"id":"1","filename":7}`), []string{"document.filename type_mismatch"}},
		{"document with neither", document(`{}`), []string{"document media_missing"}},
	})
}

func TestParseTemplate(t *testing.T) {
	t.Parallel()
	template := func(s string) string { return to + `"type":"template","template":` + s + `}` }
	named := func(name string) string {
		return template(`{"name":"` + name + `","language":{"code":"en_US"}}`)
	}
	components := func(s string) string {
		return template(`{"name":"a","language":{"code":"en"},"components":[` + s + `]}`)
	}
	parameter := func(s string) string {
		return components(`{"type":"body","parameters":[` + s + `]}`)
	}
	at := func(path, code string) []string {
		return []string{"template.components[0]" + path + " " + code}
	}
	cards := func(count int) string {
		var all []string
		for i := range count {
			all = append(all, fmt.Sprintf(`{"card_index":%d,"components":[]}`, i%10))
		}
		return components(`{"type":"carousel","cards":[` + strings.Join(all, ",") + `]}`)
	}
	run(t, []check{
		{"name 512", named(strings.Repeat("a", 512)), nil},
		{"name 513", named(strings.Repeat("a", 513)), []string{"template.name template_name_invalid"}},
		{"name with spaces", named("Order Update!"), []string{"template.name template_name_invalid"}},
		{"name missing", template(`{"language":{"code":"en"}}`), []string{"template.name template_name_invalid"}},
		{"name number", template(`{"name":1,"language":{"code":"en"}}`), []string{"template.name type_mismatch"}},
		{"language missing", template(`{"name":"a"}`), []string{"template.language.code template_language_missing"}},
		{"language without code", template(`{"name":"a","language":{"policy":"deterministic"}}`), []string{"template.language.code template_language_missing"}},
		{"language string", template(`{"name":"a","language":"en"}`), []string{"template.language type_mismatch"}},
		{"no object", template(`"a"`), []string{"template type_mismatch"}},
		{"components no array", template(`{"name":"a","language":{"code":"en"},"components":{}}`), []string{"template.components type_mismatch"}},
		{"component null", components(`null`), at("", "type_mismatch")},
		{"component without type", components(`{}`), at(".type", "template_component_type_missing")},
		{"component in capitals", components(`{"type":"BODY","parameters":[{"type":"TEXT","text":"x"}]}`), nil},
		{"named parameter", parameter(`{"type":"text","parameter_name":"first","text":"Jo"}`), nil},
		{"4 spaces", parameter(`{"type":"text","text":"a    b"}`), nil},
		{"5 spaces", parameter(`{"type":"text","text":"a     b"}`), at(".parameters[0].text", "template_parameter_invalid")},
		{"new line", parameter(`{"type":"text","text":"a\nb"}`), at(".parameters[0].text", "template_parameter_invalid")},
		{"tab", parameter(`{"type":"text","text":"a\tb"}`), at(".parameters[0].text", "template_parameter_invalid")},
		{"text number", parameter(`{"type":"text","text":7}`), at(".parameters[0].text", "type_mismatch")},
		{"parameter string", parameter(`"x"`), at(".parameters[0]", "type_mismatch")},
		{"blank", parameter(`{"type":"text","text":" "}`), at(".parameters[0].text", "template_parameter_invalid")},
		{"32768", parameter(`{"type":"text","text":"` + n(32768) + `"}`), nil},
		{"32769", parameter(`{"type":"text","text":"` + n(32769) + `"}`), at(".parameters[0].text", "template_parameter_too_long")},
		{"image", parameter(`{"type":"image","image":{"id":"1"}}`), nil},
		{"image missing", parameter(`{"type":"image"}`), at(".parameters[0].image", "media_missing")},
		{"image with http", parameter(`{"type":"image","image":{"link":"http://example.com/a"}}`), at(".parameters[0].image.link", "link_scheme")},
		{"currency", parameter(`{"type":"currency","currency":{"fallback_value":"$1","code":"USD","amount_1000":1000}}`), nil},
		{"coupon 20", parameter(`{"type":"coupon_code","coupon_code":"` + strings.Repeat("A", 20) + `"}`), nil},
		{"coupon 21", parameter(`{"type":"coupon_code","coupon_code":"` + strings.Repeat("A", 21) + `"}`), at(".parameters[0].coupon_code", "coupon_code_too_long")},
		{"button 9", components(`{"type":"button","sub_type":"url","index":"9","parameters":[{"type":"text","text":"x"}]}`), nil},
		{"button number", components(`{"type":"button","sub_type":"url","index":0,"parameters":[{"type":"text","text":"x"}]}`), nil},
		{"button 10", components(`{"type":"button","sub_type":"url","index":"10","parameters":[{"type":"text","text":"x"}]}`), at(".index", "template_button_index_invalid")},
		{"button -1", components(`{"type":"button","sub_type":"url","index":-1,"parameters":[{"type":"text","text":"x"}]}`), at(".index", "template_button_index_invalid")},
		{"button without index", components(`{"type":"button","sub_type":"url","parameters":[{"type":"text","text":"x"}]}`), at(".index", "template_button_index_invalid")},
		{"2 cards", cards(2), nil},
		{"10 cards", cards(10), nil},
		{"1 card", cards(1), at(".cards", "template_cards_missing")},
		{"11 cards", cards(11), []string{
			"template.components[0].cards template_cards_too_many", "template.components[0].cards[10].card_index card_index_duplicate",
		}},
		{
			"in a card", components(`{"type":"carousel","cards":[{"card_index":0,"components":[]},{"card_index":1,"components":[{"type":"body","parameters":[{"type":"text","text":""}]}]}]}`),
			at(".cards[1].components[0].parameters[0].text", "template_parameter_invalid"),
		},
	})
}

func TestParseInteractive(t *testing.T) {
	t.Parallel()
	interactive := func(s string) string { return to + `"type":"interactive","interactive":` + s + `}` }
	framed := func(kind, frame, body, action string) string {
		return interactive(`{"type":"` + kind + `",` + frame + `"body":{"text":"` + body + `"},"action":` + action + `}`)
	}
	at := func(path, code string) []string { return []string{"interactive." + path + " " + code} }

	button := func(id, title string) string {
		return `{"type":"reply","reply":{"id":"` + id + `","title":"` + title + `"}}`
	}
	buttons := func(list ...string) string { return `{"buttons":[` + strings.Join(list, ",") + `]}` }
	pressed := func(list ...string) string { return framed("button", "", "Which?", buttons(list...)) }
	one := buttons(button("1", "One"))

	row := func(id, title, more string) string { return `{"id":"` + id + `","title":"` + title + `"` + more + `}` }
	section := func(title string, rows ...string) string {
		return `{"title":"` + title + `","rows":[` + strings.Join(rows, ",") + `]}`
	}
	list := func(label string, sections ...string) string {
		return `{"button":"` + label + `","sections":[` + strings.Join(sections, ",") + `]}`
	}
	listed := func(sections ...string) string { return framed("list", "", "Which?", list("Choose", sections...)) }
	rows := func(first, count int) (all []string) {
		for i := range count {
			all = append(all, row(fmt.Sprint(first+i), "r", ""))
		}
		return all
	}
	sections := func(count int) (all []string) {
		for i := range count {
			all = append(all, section("s", row(fmt.Sprint(i), "r", "")))
		}
		return all
	}
	short := list("Choose", section("s", row("1", "r", "")))

	run(t, []check{
		{"no kind", interactive(`{}`), at("type", "interactive_type_missing")},
		{"no object", interactive(`[]`), []string{"interactive type_mismatch"}},
		{"kind unknown", interactive(`{"type":"buttons"}`), at("type", "interactive_type_unknown")},

		{"1 button", pressed(button("1", "One")), nil},
		{"3 buttons", pressed(button("1", "One"), button("2", "Two"), button("3", "Three")), nil},
		{"no button", pressed(), at("action.buttons", "buttons_missing")},
		{"no action", interactive(`{"type":"button","body":{"text":"x"}}`), at("action", "action_missing")},
		{"buttons no array", framed("button", "", "x", `{"buttons":{}}`), at("action.buttons", "type_mismatch")},
		{"4 buttons", pressed(button("1", "a"), button("2", "b"), button("3", "c"), button("4", "d")), at("action.buttons", "buttons_too_many")},
		{"button string", pressed(`"One"`), at("action.buttons[0]", "type_mismatch")},
		{"button type", pressed(`{"type":"url","reply":{"id":"1","title":"One"}}`), at("action.buttons[0].type", "value_not_allowed")},
		{"button id 256", pressed(button(n(256), "a")), nil},
		{"button id 257", pressed(button(n(257), "a")), at("action.buttons[0].reply.id", "button_id_too_long")},
		{"button id empty", pressed(button("", "a")), at("action.buttons[0].reply.id", "button_id_empty")},
		{"button ids equal", pressed(button("1", "a"), button("1", "b")), at("action.buttons[1].reply.id", "button_id_duplicate")},
		{"button title 20", pressed(button("1", n(20))), nil},
		{"button title 21", pressed(button("1", n(21))), at("action.buttons[0].reply.title", "button_title_too_long")},
		{"button title empty", pressed(button("1", "")), at("action.buttons[0].reply.title", "button_title_empty")},
		{"button titles equal", pressed(button("1", "a"), button("2", "a")), at("action.buttons[1].reply.title", "button_title_duplicate")},
		{"button body 1024", framed("button", "", n(1024), one), nil},
		{"button body 1025", framed("button", "", n(1025), one), at("body.text", "interactive_body_too_long")},
		{"button body missing", interactive(`{"type":"button","action":` + one + `}`), at("body.text", "interactive_body_empty")},
		{"button body string", interactive(`{"type":"button","body":"x","action":` + one + `}`), at("body", "type_mismatch")},

		{"header text 60", framed("button", `"header":{"type":"text","text":"`+n(60)+`"},`, "x", one), nil},
		{"header text 61", framed("button", `"header":{"type":"text","text":"`+n(61)+`"},`, "x", one), at("header.text", "header_too_long")},
		{"header text missing", framed("button", `"header":{"type":"text"},`, "x", one), at("header.text", "header_empty")},
		{"header image", framed("button", `"header":{"type":"image","image":{"id":"1"}},`, "x", one), nil},
		{"header image missing", framed("button", `"header":{"type":"image"},`, "x", one), at("header.image", "media_missing")},
		{"header video with both", framed("button", `"header":{"type":"video","video":{"id":"1","link":"https://example.com"}},`, "x", one), at("header.video", "media_ambiguous")},
		{"header audio", framed("button", `"header":{"type":"audio"},`, "x", one), at("header.type", "header_type_not_allowed")},
		{"footer 60", framed("button", `"footer":{"text":"`+n(60)+`"},`, "x", one), nil},
		{"footer 61", framed("button", `"footer":{"text":"`+n(61)+`"},`, "x", one), at("footer.text", "footer_too_long")},
		{"footer empty", framed("button", `"footer":{},`, "x", one), at("footer.text", "footer_empty")},

		{"list body 4096", framed("list", "", n(4096), short), nil},
		{"list body 4097", framed("list", "", n(4097), short), at("body.text", "interactive_body_too_long")},
		{"list header text", framed("list", `"header":{"type":"text","text":"x"},`, "x", short), nil},
		{"list header image", framed("list", `"header":{"type":"image","image":{"id":"1"}},`, "x", short), at("header.type", "header_type_not_allowed")},
		{"list button 20", framed("list", "", "x", list(n(20), section("s", row("1", "r", "")))), nil},
		{"list button 21", framed("list", "", "x", list(n(21), section("s", row("1", "r", "")))), at("action.button", "list_button_too_long")},
		{"list button empty", framed("list", "", "x", list("", section("s", row("1", "r", "")))), at("action.button", "list_button_empty")},
		{"10 sections", listed(sections(10)...), nil},
		{"11 sections", listed(sections(11)...), []string{
			"interactive.action.sections sections_too_many", "interactive.action.sections rows_too_many",
		}},
		{"no section", listed(), at("action.sections", "sections_missing")},
		{"section title 24", listed(section(n(24), rows(0, 1)...)), nil},
		{"section title 25", listed(section(n(25), rows(0, 1)...)), at("action.sections[0].title", "section_title_too_long")},
		{"section title empty", listed(section("", rows(0, 1)...)), at("action.sections[0].title", "section_title_empty")},
		{"section without rows", listed(section("s")), at("action.sections[0].rows", "rows_missing")},
		{"10 rows", listed(section("s", rows(0, 4)...), section("s", rows(4, 6)...)), nil},
		{"11 rows", listed(section("s", rows(0, 4)...), section("s", rows(4, 7)...)), at("action.sections", "rows_too_many")},
		{"section string", listed(`"s"`), at("action.sections[0]", "type_mismatch")},
		{"row id 200", listed(section("s", row(n(200), "r", ""))), nil},
		{"row id 201", listed(section("s", row(n(201), "r", ""))), at("action.sections[0].rows[0].id", "row_id_too_long")},
		{"row id empty", listed(section("s", row("", "r", ""))), at("action.sections[0].rows[0].id", "row_id_empty")},
		{"row ids equal", listed(section("s", rows(0, 1)...), section("t", rows(0, 1)...)), at("action.sections[1].rows[0].id", "row_id_duplicate")},
		{"row title 24", listed(section("s", row("1", n(24), ""))), nil},
		{"row title 25", listed(section("s", row("1", n(25), ""))), at("action.sections[0].rows[0].title", "row_title_too_long")},
		{"row title empty", listed(section("s", row("1", " ", ""))), at("action.sections[0].rows[0].title", "row_title_empty")},
		{"row description 72", listed(section("s", row("1", "r", `,"description":"`+n(72)+`"`))), nil},
		{"row description 73", listed(section("s", row("1", "r", `,"description":"`+n(73)+`"`))), at("action.sections[0].rows[0].description", "row_description_too_long")},
		{"row no object", listed(section("s", `"r"`)), at("action.sections[0].rows[0]", "type_mismatch")},
	})
}

func TestParseBoundsItsProblems(t *testing.T) {
	t.Parallel()
	object := to + `"type":"template","template":{"name":"a","language":{"code":"en"},"components":[` + strings.Repeat(`{},`, 999) + `{}]}}`
	if _, problems := message.Parse(json.RawMessage(object)); len(problems) != 20 {
		t.Errorf("%d problems for 1000 mistakes, want 20", len(problems))
	}
}

func TestProblemsNeverRepeatTheInput(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, object := range []string{
		`{"to":"hunter2","recipient":"hunter2","recipient_type":"hunter2","type":"hunter2"}`,
		`{"to":"+1hunter2","type":"image","image":{"link":"https://hunter2:hunter2@example.com"}}`,
		to + `"type":"template","template":{"name":"hunter2!","language":"hunter2","components":[{"type":"button","index":"hunter2"}]}}`,
	} {
		_, problems := message.Parse(json.RawMessage(object))
		if len(problems) == 0 {
			t.Errorf("no problem in %s", object)
		}
		if text := fmt.Sprint(problems); strings.Contains(text, secret) {
			t.Errorf("a problem repeats its input: %s", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, object := range []string{
		`{}`, `[]`, `{`, `null`,
		to + `"type":"text","text":{"body":"hi"}}`,
		to + `"type":"image","image":{"link":"https://[::ffff:127.0.0.1]/a"}}`,
		to + `"type":"template","template":{"name":"a","language":{"code":"en"},"components":[{"type":"carousel","cards":[{"components":[]},null]}]}}`,
		to + `"type":"interactive","interactive":{"type":"button","body":{"text":"x"},"action":{"buttons":[{"type":"reply","reply":{"id":"1","title":"1"}}]}}}`,
		to + `"type":"interactive","interactive":{"type":"list","body":{"text":"x"},"action":{"button":"b","sections":[{"title":"s","rows":[{"id":"1","title":"1"}]}]}}}`,
	} {
		f.Add([]byte(object))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		content, problems := message.Parse(object)
		if len(problems) > 20 {
			t.Errorf("%d problems", len(problems))
		}
		if len(problems) == 0 && (content.Type == "" || content.Recipient() == "") {
			t.Errorf("passed without a type or a recipient: %+v", content)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, object string }{
		{"text", to + `"type":"text","text":{"body":"Your order has shipped."}}`},
		{"template", to + `"type":"template","template":{"name":"order_update","language":{"code":"en_US"},"components":[{"type":"body","parameters":[{"type":"text","text":"Jo"},{"type":"text","text":"4711"}]}]}}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, problems := message.Parse(json.RawMessage(c.object)); problems != nil {
					b.Fatal(problems)
				}
			}
		})
	}
}
