package measure

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"gapless.dev/tests/lab/load"
)

// waitForSteadyAnswers waits until the Service has answered several times in a row.
// kube-proxy brings its rules up to date a moment after the pods are available.
func waitForSteadyAnswers(ctx context.Context, asker *load.Client, service netip.AddrPort) error {
	return wait(ctx, "the Service to answer", func() error {
		for range steadyAnswers {
			if err := ask(asker, service, oldVersion); err != nil {
				return err
			}
		}
		return nil
	})
}

// ask is an error unless that version answers.
func ask(asker *load.Client, address netip.AddrPort, version string) error {
	answer := asker.Get(address)
	switch {
	case answer.Fault != nil:
		return answer.Fault
	case answer.Kind != load.Success:
		return fmt.Errorf("%v: %s", address, answer.Kind)
	case answer.Version != version:
		return fmt.Errorf("%v: version %s answers", address, answer.Version)
	}
	return nil
}

// wait tries until it succeeds. The error says why it has not.
func wait(ctx context.Context, what string, try func() error) error {
	for end := time.Now().Add(answerLimit); ; {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited %v for %s: %w", answerLimit, what, err)
		}
		if err := sleep(ctx, pollEvery); err != nil {
			return err
		}
	}
}

// sleep ends early, with an error, if the context does.
func sleep(ctx context.Context, duration time.Duration) error {
	select {
	case <-time.After(duration):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
