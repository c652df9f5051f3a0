package load

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Capacity is how many requests per second succeed if that many workers send one
// after the other for that long, each on a new connection. A load whose rate is
// far below it measures the other side, not this one.
func Capacity(target netip.AddrPort, source netip.Addr, workers int, duration time.Duration) (float64, error) {
	start := time.Now()
	succeeded, fault := NewClient(source).atFullSpeed(target, workers, duration)
	if succeeded == 0 && fault != nil {
		return 0, fmt.Errorf("cannot tell how many requests/s are possible: %w", fault)
	}
	return float64(succeeded) / time.Since(start).Seconds(), nil
}

// atFullSpeed ends after the duration, or when the source ports are used up. A
// request that this side could not send only makes the result smaller; the last
// reason is the fault.
func (c *Client) atFullSpeed(target netip.AddrPort, workers int, duration time.Duration) (succeeded int, fault error) {
	end := time.Now().Add(duration)
	var mutex sync.Mutex
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for time.Now().Before(end) {
				answer := c.Get(target)
				if answer.Fault == errPortsUsedUp {
					return
				}
				mutex.Lock()
				if answer.Fault != nil {
					fault = answer.Fault
				} else if answer.Kind == Success {
					succeeded++
				}
				mutex.Unlock()
			}
		})
	}
	group.Wait()
	return succeeded, fault
}
