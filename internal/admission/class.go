package admission

import (
	"path"

	"sluice/internal/config"
	"sluice/internal/message"
)

// Classes returns a function that finds the class of a message when its caller names none. The first template
// pattern of the number that matches decides, and without one message.DefaultClass.
func Classes(numbers []config.Number) func(number string, c message.Content) message.Class {
	by := map[string][]config.TemplateClass{}
	for _, n := range numbers {
		by[n.ID] = n.TemplateClasses
	}
	return func(number string, c message.Content) message.Class {
		if c.Template != "" {
			for _, t := range by[number] {
				if matches, _ := path.Match(t.Name, c.Template); matches { // config has checked the pattern
					return message.Class(t.Class)
				}
			}
		}
		return message.DefaultClass(c)
	}
}
