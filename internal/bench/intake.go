package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"sluice/internal/client"
	"sluice/internal/message"
	"sluice/internal/rig"
)

// intake posts single messages to the producer, and to a bare net/http handler that gives
// the body to asynq's client.
func intake(ctx context.Context, o Options) ([]Row, error) {
	o.Duration = cmp.Or(o.Duration, 5*time.Second)
	var rows []Row
	for _, durability := range o.durabilities(Relaxed, Fsync) {
		row := Row{Case: "single posts", Durability: durability, Numbers: cmp.Or(o.Numbers, 12)}
		bare := Row{Case: "net/http: a handler that calls asynq's client", Durability: durability}
		o.say("intake: %s", durability)
		if err := intakeBare(ctx, o, &bare); err != nil {
			return rows, err
		}
		if err := intakeOnce(ctx, o, &row); err != nil {
			return rows, err
		}
		row.Baseline, row.Ratio = bare.PerSecond, new(ratio(*row.PerSecond, *bare.PerSecond))
		rows = append(rows, bare, row)
	}
	return rows, nil
}

func order(from string) ([]byte, error) {
	object, _ := content(1)
	return json.Marshal(client.Order{From: from, Message: object, Class: message.Utility, Ref: "order-20261122-000123"})
}

func intakeOnce(ctx context.Context, o Options, row *Row) error {
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return err
	}
	defer w.close()
	nrs := rig.Numbers(row.Numbers, 80)
	if err := w.configure(nrs); err != nil {
		return err
	}
	producer, err := w.program(ctx, "producer")
	if err != nil {
		return err
	}
	body, err := order(nrs[0].ID)
	if err != nil {
		return err
	}
	r := newRequest(producer.Addr, "/v1/messages", map[string]string{"Authorization": "Bearer " + rig.APIKey}, body, http.StatusAccepted)
	err = w.profile(ctx, "intake-"+row.Durability, []*rig.Process{producer}, 3*o.Duration, func() error {
		n, err := w.loaded(ctx, row, producer, r, o.Duration)
		row.Case += fmt.Sprintf(", best with %d connections", n)
		return err
	})
	return err
}

func intakeBare(ctx context.Context, o Options, row *Row) error {
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return err
	}
	defer w.close()
	addr, err := rig.FreeAddr()
	if err != nil {
		return err
	}
	p, err := w.Served(ctx, "enqueue", addr, w.Redis.Addr)
	if err != nil {
		return err
	}
	body, err := order(rig.Numbers(1, 1)[0].ID)
	if err != nil {
		return err
	}
	n, err := w.loaded(ctx, row, p, newRequest(addr, "/v1/messages", map[string]string{"Authorization": "Bearer " + rig.APIKey}, body, http.StatusAccepted), o.Duration)
	row.Case += fmt.Sprintf(", best with %d connections", n)
	return err
}
