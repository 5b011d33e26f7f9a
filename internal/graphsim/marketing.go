package graphsim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// checkRoute returns why a message is on the wrong route, or nil: the Marketing Messages API accepts templates of the category MARKETING
// only, and some of them can be sent only there. Without a registry every template is of any category.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/marketing-messages/send-marketing-messages
func (st *standing) checkRoute(m request) *wrong {
	t := st.templates[m.TemplateID()]
	marketing := m.Type == "template" && (st.Templates == nil || t != nil && t.Category == "MARKETING")
	switch {
	case m.marketing && (m.mark || m.Type != "template"):
		return &wrong{code: 131055}
	case m.marketing && !marketing:
		return &wrong{code: 134100}
	case m.marketing && time.Since(st.added[m.TemplateID()]) < time.Duration(st.Syncing):
		return &wrong{code: 134101}
	case !m.marketing && t != nil && t.MaxPrice:
		return &wrong{code: 131061}
	case !m.marketing && marketing && st.NoCloud:
		return &wrong{code: 131063}
	}
	return nil
}

// category returns the category that Meta charges a template message for.
func (st *standing) category(m request) string {
	t := st.templates[m.TemplateID()]
	switch {
	case m.marketing:
		return "marketing_lite"
	case t != nil:
		return strings.ToLower(t.Category)
	}
	return "utility"
}

// serves returns the version that answers a call of another one: Meta serves an expired version by the oldest that is left. False: Meta
// does not know the version.
func (st *standing) serves(asked string) (version string, known bool) {
	switch {
	case st.Versions == nil || slices.Contains(st.Versions, asked):
		return asked, true
	case major(asked) < major(st.Versions[0]):
		return st.Versions[0], true
	}
	return defaultVersion, false
}

func major(version string) int {
	n, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	i, _ := strconv.Atoi(n)
	return i
}

// unknownVersion returns Meta's answer to a call of a version that does not exist.
func unknownVersion(r *http.Request) *denial {
	_, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return &denial{status: http.StatusBadRequest, code: 2500, message: "Unknown path components: /" + rest}
}
