package demo

import (
	"context"
	"crypto/sha256"
	"fmt"

	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/config"
)

// clients is how many calls of the API the pipeline makes at the same time.
const clients = 16

// kind is one of the three messages of an order. All are templates, because Meta delivers nothing else to recipients
// that have not written to the business in the last 24 hours.
type kind struct {
	name   string
	object func(order int, to string) map[string]any // Meta's message object
}

var kinds = []kind{
	{"confirmation", func(order int, to string) map[string]any {
		return map[string]any{"to": to, "type": "template", "template": map[string]any{
			"name": "order_confirmation", "language": map[string]any{"code": "en_US"},
			"components": []any{map[string]any{"type": "body", "parameters": []any{
				map[string]any{"type": "text", "text": orderName(order)},
			}}},
		}}
	}},
	{"shipping", func(order int, to string) map[string]any {
		return map[string]any{"to": to, "type": "template", "template": map[string]any{
			"name": "order_shipped", "language": map[string]any{"code": "en_US"},
			"components": []any{map[string]any{"type": "header", "parameters": []any{
				map[string]any{"type": "image", "image": map[string]any{"link": "https://shop.example/parcels/" + orderName(order) + ".jpg"}},
			}}},
		}}
	}},
	{"survey", func(_ int, to string) map[string]any {
		return map[string]any{"to": to, "type": "template", "template": map[string]any{
			"name": "order_arrived", "language": map[string]any{"code": "en_US"},
			"components": []any{quickReply("0", "well"), quickReply("1", "broken")},
		}}
	}},
}

// quickReply is a button of a template that the customer can tap.
func quickReply(index, payload string) any {
	return map[string]any{"type": "button", "sub_type": "quick_reply", "index": index, "parameters": []any{
		map[string]any{"type": "payload", "payload": payload},
	}}
}

// recipient is a phone number that is not in use, and that the simulator treats like any other.
func recipient(order int) string { return fmt.Sprintf("+1555%07d", 2_200_000+order) }

func orderName(order int) string { return fmt.Sprintf("order-%04d", order) }

// place sends the messages of all orders, kind by kind, from all numbers. It calls accepted
// with the id and kind of each. The keys contain run, so that an earlier run on the same Redis has other keys.
func place(ctx context.Context, api *client.Client, run string, orders int, accepted func(id, kind string)) error {
	for _, k := range kinds {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(clients)
		for order := range orders {
			g.Go(func() error {
				r, err := api.Send(ctx, client.Message{
					From: numbers[order%len(numbers)], Content: k.object(order, recipient(order)), Ref: orderName(order),
					Key: run + "/" + orderName(order) + "/" + k.name, Tags: []string{k.name},
				})
				if err != nil {
					return fmt.Errorf("send %s of %s: %w", k.name, orderName(order), err)
				}
				accepted(r.ID, k.name)
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func apiKeyFor(key string) config.APIKey {
	return config.APIKey{
		Name: "demo", SHA256: sha256.Sum256([]byte(key)), Numbers: []string{"*"},
		Scopes: config.Scopes(),
	}
}
