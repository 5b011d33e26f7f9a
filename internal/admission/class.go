package admission

import (
	"cmp"
	"path"

	"sluice/internal/config"
	"sluice/internal/message"
)

// categories knows the categories that templates have at Meta, as classes; empty: unknown. It does not block.
type categories interface {
	Class(number, name, language string) message.Class
}

// Classes finds the class of a message when its caller names none. For a template, the first pattern of the number that
// matches its name decides, and without one its category at Meta. If that is unknown, and for other messages,
// message.DefaultClass decides. It is safe for concurrent use.
type Classes struct {
	patterns   func(number string) []config.TemplateClass
	categories categories
}

// NewClasses returns Classes with the patterns of each number.
func NewClasses(patterns func(number string) []config.TemplateClass, categories categories) *Classes {
	return &Classes{patterns, categories}
}

// Class returns the class of a message. It does not block.
func (c *Classes) Class(number string, m message.Content) message.Class {
	if class, decided := c.configured(number, m); decided {
		return class
	}
	return cmp.Or(c.categories.Class(number, m.Template, m.Language), message.DefaultClass(m))
}

// configured returns the class of a message, unless the category of its template decides.
func (c *Classes) configured(number string, m message.Content) (class message.Class, decided bool) {
	if m.Template == "" {
		return message.DefaultClass(m), true
	}
	for _, t := range c.patterns(number) {
		if matches, _ := path.Match(t.Name, m.Template); matches { // config has checked the pattern
			return message.Class(t.Class), true
		}
	}
	if m.Marketing {
		return message.DefaultClass(m), true
	}
	return "", false
}
