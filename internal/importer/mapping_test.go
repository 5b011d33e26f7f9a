package importer

import (
	"reflect"
	"strings"
	"testing"

	"sluice/internal/importfile"
)

// TestMapping: what the columns of a file mean, and what is wrong with them.
func TestMapping(t *testing.T) {
	t.Parallel()
	c := Mapping{To: "phone", Ref: "{{order}}-1", Param: []string{"1={{name}}", "button_0=a=b", "header_image=https://x"}, Template: []string{"a/en=1", "b/en=2"}, Campaign: "spring"}
	o, err := c.Options()
	want := importfile.Options{
		Mapped: true, Templates: []importfile.Template{{Pattern: "a/en", Share: 1}, {Pattern: "b/en", Share: 2}},
		Values: []importfile.Value{
			{Flag: "--to", Column: "to", Pattern: "{{phone}}"},
			{Flag: "--ref", Column: "ref", Pattern: "{{order}}-1"},
			{Flag: "--campaign", Column: "campaign", Pattern: "spring"},
			{Flag: "--param 1", Column: "body_1", Pattern: "{{name}}"},
			{Flag: "--param button_0", Column: "button_0", Pattern: "a=b"},
			{Flag: "--param header_image", Column: "header_image", Pattern: "https://x"},
		},
	}
	if err != nil || !reflect.DeepEqual(o, want) {
		t.Errorf("%v, %+v", err, o)
	}
	for _, param := range []string{"1", "name={{name}}", "0=x", "button_10=x"} {
		c := Mapping{Param: []string{param}}
		if _, err := c.Options(); err == nil || !strings.Contains(err.Error(), "--param "+param+": write it as 1=VALUE") {
			t.Errorf("%s: %v", param, err)
		}
	}
}
