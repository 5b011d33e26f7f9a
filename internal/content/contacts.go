package content

import "time"

// Meta, Cloud API, "Contacts messages".
var (
	contactCount    = between(1, 257, "contacts", "contacts")
	nameMissing     = needed("contact_name_missing", "A contact needs a name.", "Give an object, for example with formatted_name and first_name.")
	formattedName   = needed("contact_formatted_name_empty", "A contact's formatted name is missing or blank.", "Give the name that recipients will see.")
	namePartMissing = needed("contact_name_part_missing", "A name needs at least one part in addition to formatted_name.", "Add "+list(nameParts)+".")
	birthdayInvalid = rule(Invalid, "contact_birthday_invalid", "A birthday is a date.", "Write it as YYYY-MM-DD.")
)

var nameParts = []string{"first_name", "last_name", "middle_name", "suffix", "prefix"}

// contactLists are the lists that a contact may have, with the strings in their elements.
var contactLists = []struct {
	name    string
	members []string
}{
	{"phones", []string{"phone", "type", "wa_id"}},
	{"emails", []string{"email", "type"}},
	{"urls", []string{"url", "type"}},
	{"addresses", []string{"street", "city", "state", "zip", "country", "country_code", "type"}},
}

func (n node) checkContacts() {
	if !n.present() {
		return // reported as the message's missing content
	}
	for _, contact := range n.counted(contactCount) {
		contact.checkContact()
	}
}

func (n node) checkContact() {
	if name := n.get("name"); name.neededObject(nameMissing) {
		name.get("formatted_name").word(formattedName)
		parts := 0
		for _, part := range nameParts {
			if s, ok := name.get(part).text(); !ok || !blank(s) {
				parts++
			}
		}
		if parts == 0 {
			name.refuse(namePartMissing)
		}
	}
	for _, l := range contactLists {
		for _, element := range n.get(l.name).objects() {
			element.texts(l.members...)
		}
	}
	if org := n.get("org"); org.object() {
		org.texts("company", "department", "title")
	}
	birthday := n.get("birthday")
	if s, ok := birthday.text(); ok && birthday.present() {
		if _, err := time.Parse(time.DateOnly, s); err != nil {
			birthday.refuse(birthdayInvalid)
		}
	}
}
