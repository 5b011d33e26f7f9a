package client

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The types of this package for the objects of the API, by their names in docs/openapi.json.
var objects = map[string]reflect.Type{
	"MessageRequest":   reflect.TypeFor[Message](),
	"AfterRequest":     reflect.TypeFor[After](),
	"AcceptedMessage":  reflect.TypeFor[Accepted](),
	"CheckedMessage":   reflect.TypeFor[Checked](),
	"MediaFile":        reflect.TypeFor[MediaFile](),
	"LineResult":       reflect.TypeFor[LineResult](),
	"CheckedLine":      reflect.TypeFor[CheckedLine](),
	"Failure":          reflect.TypeFor[Problem](),
	"Problem":          reflect.TypeFor[Mistake](),
	"Record":           reflect.TypeFor[Record](),
	"MetaError":        reflect.TypeFor[MetaError](),
	"ErrorDetail":      reflect.TypeFor[ErrorDetail](),
	"After":            reflect.TypeFor[WaitsFor](),
	"Campaign":         reflect.TypeFor[Campaign](),
	"CampaignSettings": reflect.TypeFor[CampaignSettings](),
	"CampaignFailures": reflect.TypeFor[CampaignFailures](),
	"CampaignTemplate": reflect.TypeFor[CampaignTemplate](),
	"CampaignNumber":   reflect.TypeFor[CampaignNumber](),
	"Usage":            reflect.TypeFor[Usage](),
	"QuotaUse":         reflect.TypeFor[Quota](),
	"BudgetUse":        reflect.TypeFor[BudgetUse](),
	"OverBudget":       reflect.TypeFor[OverBudget](),
	"Cost":             reflect.TypeFor[Cost](),
	"TimelineEntry":    reflect.TypeFor[Step](),
	"Explanation":      reflect.TypeFor[Explanation](),
	"Hold":             reflect.TypeFor[Hold](),
	"MessageList":      reflect.TypeFor[listPage](),
	"StateInfo":        reflect.TypeFor[StateInfo](),
	"Page":             reflect.TypeFor[Page](),
	"NamedCursor":      reflect.TypeFor[NamedCursor](),
	"Event":            reflect.TypeFor[Event](),
	"Change":           reflect.TypeFor[Change](),
	"Final":            reflect.TypeFor[Final](),
	"Context":          reflect.TypeFor[Info](),
	"StatusReport":     reflect.TypeFor[Report](),
	"OptOut":           reflect.TypeFor[OptOut](),
	"Gap":              reflect.TypeFor[Gap](),
	"Handover":         reflect.TypeFor[Handover](),
	"Suppression":      reflect.TypeFor[Suppression](),
	"SuppressionOrder": reflect.TypeFor[SuppressionOrder](),
	"SuppressionList":  reflect.TypeFor[SuppressionPage](),
	"ScheduleOrder":    reflect.TypeFor[ScheduleOrder](),
	"Schedule":         reflect.TypeFor[Schedule](),
	"ScheduleTick":     reflect.TypeFor[ScheduleTick](),
	"ImportResult":     reflect.TypeFor[ImportResult](),
	"ImportError":      reflect.TypeFor[ImportError](),
}

// without are the objects without a type: methods return their one member, or nothing, Meta documents its own form, and a search
// has fewer members than its request, because List has the others.
var without = []string{"SearchRequest", "StateList", "UsageList", "CampaignList", "QuotaList", "NamedCursors", "Acknowledgement", "Cancelled", "CampaignOrder", "CampaignCancelled", "MetaMessage", "FallbackRequest", "TemplateLanguage", "SuppressionRequest", "SuppressionChange", "SuppressionLine", "MediaRequest", "Uploaded", "ScheduleList"}

// property is a member of an object in a JSON schema.
type property struct {
	Type   string
	Format string
	Ref    string `json:"$ref"`
	Items  *property
	Enum   []string
	Doc    string `json:"description"`
}

// schema is an object in a JSON schema.
type schema struct {
	Properties map[string]property
	Required   []string
}

// schemas reads the objects of the API and those of the events.
func schemas(t *testing.T) (api, events map[string]schema) {
	t.Helper()
	var description struct {
		Components struct{ Schemas map[string]schema }
	}
	var event struct {
		schema
		Defs map[string]schema `json:"$defs"`
	}
	for file, into := range map[string]any{"../docs/openapi.json": &description, "../docs/events.schema.json": &event} {
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	event.Defs["Event"] = event.schema
	return description.Components.Schemas, event.Defs
}

// member is a member of a type.
type member struct {
	typ      reflect.Type
	optional bool // it is left out if it is zero
}

// members returns the members of a type as encoding/json writes them.
func members(t reflect.Type) map[string]member {
	all := map[string]member{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			all[name] = member{f.Type, options != ""}
		}
	}
	return all
}

// form returns the JSON type of a Go type, in the words of form below.
func form(t reflect.Type) string {
	for name, object := range objects {
		if t == object {
			return name
		}
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "string date-time"
	case t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Interface:
		return ""
	case t.Kind() == reflect.Pointer:
		return form(t.Elem())
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		return "object"
	case t.Kind() == reflect.Slice:
		return "array of " + form(t.Elem())
	case t.Kind() == reflect.String:
		return "string"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return "integer"
	case t.Kind() == reflect.Float64:
		return "number"
	}
	return t.String()
}

// form returns the JSON type of a property; empty: any.
func (p property) form() string {
	name := p.Ref[strings.LastIndex(p.Ref, "/")+1:]
	switch {
	case name == "MetaMessage", name == "FallbackRequest":
		return ""
	case name != "":
		return name
	case p.Type == "array":
		return "array of " + p.Items.form()
	}
	return strings.TrimSpace(p.Type + " " + p.Format)
}

// TestTypesMatchTheAPI: each member of each object has a field of the same type, and no field is without a member.
func TestTypesMatchTheAPI(t *testing.T) {
	t.Parallel()
	api, events := schemas(t)
	for name, s := range api {
		if objects[name] == nil && !slices.Contains(without, name) && !strings.HasPrefix(name, "Graph") {
			t.Errorf("docs/openapi.json has the object %s. Add a type for it", name)
		}
		if objects[name] != nil {
			compare(t, "docs/openapi.json: "+name, objects[name], s)
		}
	}
	for name, s := range events {
		if objects[name] == nil {
			t.Errorf("docs/events.schema.json has the object %s. Add a type for it", name)
			continue
		}
		compare(t, "docs/events.schema.json: "+name, objects[name], s)
	}
	for name := range objects {
		if _, ok := api[name]; !ok {
			t.Errorf("docs/openapi.json has no object %s", name)
		}
	}
}

func compare(t *testing.T, where string, typ reflect.Type, s schema) {
	t.Helper()
	fields := members(typ)
	for name, p := range s.Properties {
		f, ok := fields[name]
		switch {
		case !ok:
			t.Errorf("%s.%s: %s has no field for it", where, name, typ)
		case form(f.typ) != p.form():
			t.Errorf("%s.%s is %q, in %s it is %q", where, name, p.form(), typ, form(f.typ))
		case (typ == objects["MessageRequest"] || typ == objects["AfterRequest"]) && f.optional == slices.Contains(s.Required, name):
			t.Errorf("%s.%s: the field of %s is left out if it is zero: %v. It must be so if the member is optional, and only then", where, name, typ, f.optional)
		}
		if len(p.Enum) > 0 {
			if constants := constantsOf(t)[f.typ.Name()]; !slices.Equal(constants, p.Enum) {
				t.Errorf("%s.%s is one of %q, the constants of %s are %q", where, name, p.Enum, f.typ.Name(), constants)
			}
		}
		delete(fields, name)
	}
	for name := range fields {
		t.Errorf("%s has no member %s, %s has a field for it", where, name, typ)
	}
}

// valueInDoc finds the values that a description lists: "delivered: Meta reported that ... not_delivered: ...".
var valueInDoc = regexp.MustCompile(`(?:^|\. )([a-z_]+): `)

// TestConstantsMatchTheEvents: the types of events and the results are those of the schema.
func TestConstantsMatchTheEvents(t *testing.T) {
	t.Parallel()
	_, events := schemas(t)
	for of, p := range map[string]property{"EventType": events["Event"].Properties["type"], "Result": events["Final"].Properties["result"]} {
		var values []string
		for _, found := range valueInDoc.FindAllStringSubmatch(p.Doc, -1) {
			values = append(values, found[1])
		}
		if constants := constantsOf(t)[of]; !slices.Equal(constants, values) || len(values) < 3 {
			t.Errorf("the values are %q, the constants of %s are %q", values, of, constants)
		}
	}
}

// constantsOf returns the values of the constants in state.go, by their type.
func constantsOf(t *testing.T) map[string][]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "state.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			of := v.Type.(*ast.Ident).Name
			value, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			all[of] = append(all[of], value)
		}
		return true
	})
	return all
}

// TestEveryPathHasAMethod: each path of /v1 is called by a method.
func TestEveryPathHasAMethod(t *testing.T) {
	t.Parallel()
	methods := map[string]string{
		"post /v1/messages":                    "Send",
		"get /v1/messages":                     "List",
		"post /v1/messages/batch":              "SendBatch",
		"post /v1/messages/batch/check":        "CheckLines",
		"post /v1/messages/check":              "Check",
		"post /v1/messages/search":             "Search",
		"post /v1/media/check":                 "CheckMedia",
		"get /v1/messages/{id}":                "Get",
		"get /v1/states":                       "States",
		"get /v1/campaigns":                    "Campaigns",
		"get /v1/campaigns/{campaign}":         "Campaign",
		"post /v1/campaigns/{campaign}/cancel": "CancelCampaign",
		"get /v1/media/{sha256}":               "Upload",
		"get /v1/usage":                        "Usage",
		"get /v1/quotas":                       "Quotas",
		"get /v1/messages/{id}/explain":        "Explain",
		"post /v1/messages/{id}/cancel":        "Cancel",
		"post /v1/suppressions":                "Suppress",
		"post /v1/suppressions/remove":         "Unsuppress",
		"post /v1/suppressions/show":           "Suppressed",
		"get /v1/suppressions":                 "Suppressions",
		"post /v1/suppressions/import":         "ImportSuppressions",
		"get /v1/suppressions/export":          "ExportSuppressions",
		"get /v1/schedules":                    "Schedules",
		"get /v1/schedules/{name}":             "Schedule",
		"put /v1/schedules/{name}":             "SetSchedule",
		"delete /v1/schedules/{name}":          "DeleteSchedule",
		"get /v1/events":                       "Events",
		"get /v1/events/cursors":               "Cursors",
		"put /v1/events/cursors/{name}":        "SetCursor",
		"delete /v1/events/cursors/{name}":     "DeleteCursor",
	}
	text, err := os.ReadFile("../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var description struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(text, &description); err != nil {
		t.Fatal(err)
	}
	for path, operations := range description.Paths {
		for verb := range operations {
			if strings.HasPrefix(path, "/v1/") && methods[verb+" "+path] == "" {
				t.Errorf("no method calls %s %s", verb, path)
			}
			delete(methods, verb+" "+path)
		}
	}
	for path := range maps.Keys(methods) {
		t.Errorf("docs/openapi.json has no %s", path)
	}
}

// TestUnknownMembersAreIgnored: an answer of a later version of Sluice can have more members and values.
func TestUnknownMembersAreIgnored(t *testing.T) {
	t.Parallel()
	var e Event
	const text = `{"v":3,"type":"new","at":1,"new":{"a":[1]},"state":{"to":"new","new":1}}`
	err := json.Unmarshal([]byte(text), &e)
	if err != nil || e.Type != "new" || e.State.To != "new" || string(e.Raw) != text {
		t.Errorf("%+v, %v", e, err)
	}
}
