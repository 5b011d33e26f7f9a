package graphsim

import "sync"

// heldForQuality is the message_status of a message that Meta took and holds back until it has assessed the quality of its
// template: https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/template-pacing
const heldForQuality = "held_for_quality_assessment"

// pacing has the messages of paced templates that wait for the assessment.
type pacing struct {
	mu      sync.Mutex
	waiting map[string][]pacedMessage // by "name/language"
}

// pacedMessage is a message with what its reports need.
type pacedMessage struct {
	number, wamid string
	m             request
	failed        int // see hooks.follow
}

// pace holds an accepted message back if its template is paced, and reports whether it does.
func (s *Sim) pace(p pacedMessage) bool {
	s.pacing.mu.Lock()
	defer s.pacing.mu.Unlock()
	t := s.standing.Load().templates[p.m.TemplateID()] // under the lock: assess runs after a change
	if t == nil || !t.Paced {
		return false
	}
	s.pacing.waiting[t.key()] = append(s.pacing.waiting[t.key()], p)
	return true
}

// assess lets the waiting messages of templates go on that are not paced any more: those of a template that can be sent are
// sent, and the others are dropped, which Meta reports with code 132015.
func (s *Sim) assess() {
	s.pacing.mu.Lock()
	defer s.pacing.mu.Unlock()
	st := s.standing.Load()
	for key, waiting := range s.pacing.waiting {
		t := st.templates[key]
		sendable := t != nil && sendable(t.Status)
		if sendable && t.Paced {
			continue
		}
		for _, p := range waiting {
			if !sendable {
				p.failed = 132015
			}
			s.hooks.follow(p.number, p.wamid, p.m, p.failed)
		}
		delete(s.pacing.waiting, key)
	}
}

// sendable reports whether messages of a template with the status are accepted.
func sendable(status string) bool {
	return status == "APPROVED" || status == "FLAGGED" || status == "REINSTATED"
}
