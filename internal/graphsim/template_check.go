package graphsim

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The most characters of a body with its parameters: fewer if there are
// other components. https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages
const (
	mostHydrated      = 1024
	mostHydratedAlone = 32768
)

// checkTemplate returns Meta's answer to a wrong template message, or nil. Without a registry every
// template exists.
func (st *standing) checkTemplate(m request) *wrong {
	if st.Templates == nil {
		return nil
	}
	t := st.templates[m.TemplateID()]
	if t == nil {
		return &wrong{code: 132001, details: fmt.Sprintf("template name (%s) does not exist in %s", m.Template, m.Language)}
	}
	switch {
	case sendable(t.Status):
	case t.Status == "PAUSED":
		return &wrong{code: 132015}
	case t.Status == "DISABLED":
		return &wrong{code: 132016}
	default:
		return &wrong{code: 132001, details: fmt.Sprintf("template name (%s) is not approved in %s", m.Template, m.Language)}
	}
	if t.Category == "AUTHENTICATION" && m.toUser() {
		return &wrong{code: 131062}
	}
	if t.parts == nil {
		return nil
	}
	return t.check(t.parts, m.template["components"])
}

// check compares the components of a message with those that a template, or one of its cards, needs.
func (t *sheet) check(parts []part, components any) *wrong {
	given := map[string]map[string]any{}
	var buttons []map[string]any
	for _, c := range objects(components) {
		kind, _ := c["type"].(string)
		if kind = strings.ToUpper(kind); kind == "BUTTON" {
			buttons = append(buttons, c)
		} else {
			given[kind] = c
		}
	}
	for _, p := range parts {
		var w *wrong
		switch p.Type = strings.ToUpper(p.Type); p.Type {
		case "HEADER":
			w = t.checkHeader(p, objects(given[p.Type]["parameters"]))
		case "BODY":
			w = t.checkTexts(p, objects(given[p.Type]["parameters"]), len(parts) == 1)
		case "BUTTONS":
			w = checkButtons(p, buttons)
		case "CAROUSEL":
			w = t.checkCards(p, objects(given[p.Type]["cards"]))
		case "LIMITED_TIME_OFFER":
			if given[p.Type] == nil {
				w = &wrong{code: 131008, details: "limited_time_offer: expiration_time_ms is required"}
			}
		}
		if w != nil {
			return w
		}
		delete(given, p.Type)
	}
	for kind, c := range given {
		if n := len(objects(c["parameters"])); n > 0 {
			return mismatch(strings.ToLower(kind), n, 0)
		}
	}
	return nil
}

func mismatch(kind string, given, needed int) *wrong {
	return &wrong{code: 132000, details: fmt.Sprintf(
		"%s: number of localizable_params (%d) does not match the expected number of params (%d)", kind, given, needed)}
}

// checkHeader checks the one parameter of a header: a text's, or media of the right kind.
func (t *sheet) checkHeader(p part, parameters []map[string]any) *wrong {
	format := strings.ToUpper(p.Format)
	if format == "" || format == "TEXT" {
		return t.checkTexts(p, parameters, false)
	}
	got := "UNKNOWN"
	if len(parameters) > 0 {
		kind, _ := parameters[0]["type"].(string)
		got = strings.ToUpper(kind)
	}
	if got != format {
		return &wrong{code: 132012, details: fmt.Sprintf("header: Format mismatch, expected %s, received %s", format, got)}
	}
	return nil
}

var variable = regexp.MustCompile(`\{\{\s*([A-Za-z0-9_]+)\s*\}\}`)

// checkTexts checks the parameters of a text.
func (t *sheet) checkTexts(p part, parameters []map[string]any, alone bool) *wrong {
	var names []string
	for _, found := range variable.FindAllStringSubmatch(p.Text, -1) {
		if !slices.Contains(names, found[1]) {
			names = append(names, found[1])
		}
	}
	if t.Category == "AUTHENTICATION" && p.Text == "" && p.Type == "BODY" {
		names = []string{"1"} // Meta writes the text of authentication templates itself
	}
	if len(parameters) != len(names) {
		return mismatch(strings.ToLower(p.Type), len(parameters), len(names))
	}
	length := utf8.RuneCountInString(variable.ReplaceAllString(p.Text, ""))
	for _, parameter := range parameters {
		if name, _ := parameter["parameter_name"].(string); t.Format == "NAMED" && !slices.Contains(names, name) {
			return &wrong{code: 132012, details: strings.ToLower(p.Type) + ": a parameter_name is not one of the template's"}
		}
		text, _ := parameter["text"].(string)
		length += utf8.RuneCountInString(text)
	}
	most := mostHydrated
	if alone {
		most = mostHydratedAlone
	}
	if length > most {
		return &wrong{code: 132005, details: fmt.Sprintf("%s: the text has %d characters with its parameters; at most %d are allowed", strings.ToLower(p.Type), length, most)}
	}
	return nil
}

// checkButtons checks that exactly the buttons that need a parameter have one.
func checkButtons(p part, buttons []map[string]any) *wrong {
	given := map[int]int{}
	for _, b := range buttons {
		i, err := strconv.Atoi(fmt.Sprint(b["index"]))
		if err != nil || i >= len(p.Buttons) {
			return &wrong{code: 132018, details: fmt.Sprintf("buttons: there is no button at index %v", b["index"])}
		}
		given[i] = len(objects(b["parameters"]))
	}
	for i, b := range p.Buttons {
		kind := strings.ToUpper(b.Type)
		variable := strings.Contains(b.URL, "{{")
		needs := kind == "COPY_CODE" || kind == "OTP" || kind == "URL" && variable
		if needs && given[i] == 0 {
			return &wrong{code: 131008, details: fmt.Sprintf("buttons: Button at index %d of type %s requires a parameter", i, b.Type)}
		}
		if kind == "URL" && !variable && given[i] > 0 {
			return &wrong{code: 132018, details: fmt.Sprintf("buttons: Button at index %d of type %s takes no parameter", i, b.Type)}
		}
	}
	return nil
}

func (t *sheet) checkCards(p part, cards []map[string]any) *wrong {
	if len(cards) != len(p.Cards) {
		return &wrong{code: 132018, details: fmt.Sprintf("carousel: %d cards do not match the template's %d", len(cards), len(p.Cards))}
	}
	for i, card := range cards {
		if w := t.check(p.Cards[i].Components, card["components"]); w != nil {
			w.details = fmt.Sprintf("carousel: card %d: %s", i, w.details)
			return w
		}
	}
	return nil
}
