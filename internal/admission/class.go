package admission

import (
	"cmp"
	"context"
	"path"

	"sluice/internal/config"
	"sluice/internal/message"
)

// categories knows the categories that templates have at Meta, as classes; empty: unknown.
type categories interface {
	// Class does not block. known is false while Meta is asked for the first time.
	Class(number, name, language string) (class message.Class, known bool)
	// Wait waits for that answer, for a short time.
	Wait(ctx context.Context, number, name, language string) message.Class
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

// Class returns the class of a message. It does not block. known is false while Meta is asked for the category of a
// template for the first time: then Wait returns the class.
func (c *Classes) Class(number string, m message.Content) (class message.Class, known bool) {
	if class, decided := c.configured(number, m); decided {
		return class, true
	}
	class, known = c.categories.Class(number, m.Template, m.Language)
	return cmp.Or(class, message.DefaultClass(m)), known
}

// Wait returns the class of a message. It waits for Meta if it must, for at most 2 s.
func (c *Classes) Wait(ctx context.Context, number string, m message.Content) message.Class {
	if class, decided := c.configured(number, m); decided {
		return class
	}
	return cmp.Or(c.categories.Wait(ctx, number, m.Template, m.Language), message.DefaultClass(m))
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
