package admission_test

import (
	"testing"

	"sluice/internal/admission"
	"sluice/internal/config"
	"sluice/internal/message"
)

// categories are those at Meta, by number and name.
type categories map[string]message.Class

func (c categories) Class(number, name, _ string) message.Class { return c[number+" "+name] }

// TestClasses: the first pattern of the number that matches the name of the template decides the class, then the category
// at Meta, then the default.
func TestClasses(t *testing.T) {
	t.Parallel()
	all := admission.NewClasses(func(number string) []config.TemplateClass {
		if number != "1" {
			return nil
		}
		return []config.TemplateClass{{Name: "otp_*", Class: "authentication"}, {Name: "*_sale*", Class: "marketing"}, {Name: "otp_sale", Class: "utility"}}
	}, categories{"1 otp_sale": message.Utility, "2 otp_login": message.Marketing, "2 code": message.Authentication, "2 late": message.Marketing})
	for _, tt := range []struct {
		number string
		c      message.Content
		want   message.Class
	}{
		{"1", message.Content{Type: "template", Template: "otp_login"}, message.Authentication},
		{"1", message.Content{Type: "template", Template: "otp_sale"}, message.Authentication},
		{"1", message.Content{Type: "template", Template: "big_sale_2"}, message.Marketing},
		{"1", message.Content{Type: "template", Template: "order"}, message.Utility},
		{"1", message.Content{Type: "text"}, message.Service},
		{"1", message.Content{Type: "text", Category: "authentication"}, message.Authentication},
		{"2", message.Content{Type: "template", Template: "otp_login"}, message.Marketing},
		{"2", message.Content{Type: "template", Template: "code"}, message.Authentication},
		{"2", message.Content{Type: "template", Template: "code", Marketing: true}, message.Marketing},
		{"2", message.Content{Type: "template", Template: "late"}, message.Marketing},
		{"3", message.Content{Type: "template", Template: "late"}, message.Utility},
		{"3", message.Content{Type: "text"}, message.Service},
	} {
		if got := all.Class(tt.number, tt.c); got != tt.want {
			t.Errorf("%s, %+v: %s, want %s", tt.number, tt.c, got, tt.want)
		}
	}
}
