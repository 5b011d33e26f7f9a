package pages

import "time"

// auditEntry is an entry of the audit log, as the console API lists it.
type auditEntry struct {
	At         time.Time
	Action     string
	Target     string
	Actor      string
	APIKeyName string `json:"api_key_name"`
	Reason     string
}

func auditPage() page {
	return page{
		name: "audit", path: "audit", title: "Audit log", nav: true,
		read: func(v *view) (any, *problem) {
			var list struct{ Entries []auditEntry }
			failed := v.console("GET", "/v1/audit?limit=500", nil, &list)
			return list.Entries, failed
		},
	}
}
