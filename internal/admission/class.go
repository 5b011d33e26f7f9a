package admission

import (
	"path"

	"sluice/internal/config"
	"sluice/internal/message"
)

// Classes returns a function that gives the class of a message whose caller names none: by the
// template patterns of its number, else message.DefaultClass.
func Classes(numbers []config.Number) func(number string, c message.Content) message.Class {
	by := map[string][]config.TemplateClass{}
	for _, n := range numbers {
		by[n.ID] = n.TemplateClasses
	}
	return func(number string, c message.Content) message.Class {
		if c.Template != "" {
			for _, t := range by[number] {
				if fits, _ := path.Match(t.Name, c.Template); fits { // the pattern was checked
					return message.Class(t.Class)
				}
			}
		}
		return message.DefaultClass(c)
	}
}
