// Package load sends HTTP requests at a constant rate and records what becomes of
// each one.
//
// It is an open loop: a request starts when it is due, however long those before
// it take, because the users of a service do not wait for each other either.
// Nothing is retried, and what goes wrong on this side is counted apart from what
// goes wrong on the other (see [Result.GeneratorFaults]).
//
// Each load has a source address of its own, and counts its source ports up
// without ever using one twice. Otherwise a connection might meet an entry of
// connection tracking that an earlier one left behind, which leads to a pod that
// is gone: it would fail for no fault of the rollout.
package load

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Mode is how requests and connections go together.
type Mode string

const (
	// NewConnections is a connection for each request, closed after it.
	NewConnections Mode = "new-connections"
	// KeepAlive is requests that share persistent connections, see pool.
	KeepAlive Mode = "keep-alive"
)

// timeout is for one request as a whole, from connecting to the end of the body.
const timeout = 2 * time.Second

// Config says what to send where.
type Config struct {
	Target netip.AddrPort
	// Source is an address that nobody else connects from.
	Source netip.Addr
	Mode   Mode
	// Connections is the number of persistent ones, in mode KeepAlive.
	Connections int
	// Rate is in requests per second.
	Rate int
	// Limit is when the load ends if nobody stops it.
	Limit time.Duration
}

// Request is what became of one request.
type Request struct {
	// Due is when it had to start, since the start of the load.
	Due time.Duration
	// Lag is how much later the generator really started it.
	Lag time.Duration
	// Latency is from its real start to its end, whichever that was.
	Latency time.Duration
	Kind    Kind
	// Version is the X-Version of the answer, if there was one.
	Version string
}

// Result is what became of all of them.
type Result struct {
	// Requests are all that were sent, or that the other side kept from being
	// sent, in the order in which they were due.
	Requests []Request
	// GeneratorFaults counts requests that this side could not send, for example
	// because it could not bind their source port. They are not in Requests.
	GeneratorFaults int
	// FirstFault is one of them.
	FirstFault error
	MaxLag     time.Duration
	// MaxInFlight is how many requests were under way at the same time.
	MaxInFlight int
}

// Load is a load that is being sent.
type Load struct {
	config Config
	client *Client
	pool   *pool
	start  time.Time
	cancel context.CancelFunc
	// sent is closed when no further request will start.
	sent     chan struct{}
	underWay sync.WaitGroup

	mutex    sync.Mutex
	inFlight int
	result   Result
}

// Start begins to send. The load ends with Stop, with the context, or at its
// limit, whichever comes first.
func Start(ctx context.Context, config Config) (*Load, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	client := NewClient(config.Source)
	load := &Load{config: config, client: client, sent: make(chan struct{})}
	if config.Mode == KeepAlive {
		pool, err := newPool(client, config.Target, config.Connections)
		if err != nil {
			return nil, err
		}
		load.pool = pool
	}
	ctx, load.cancel = context.WithCancel(ctx)
	load.start = time.Now()
	go load.send(ctx)
	return load, nil
}

func (c Config) check() error {
	if c.Rate <= 0 || c.Limit <= 0 {
		return fmt.Errorf("a load needs a rate and a limit, not %d requests/s for %v", c.Rate, c.Limit)
	}
	switch {
	case c.Mode == NewConnections:
	case c.Mode == KeepAlive && c.Connections > 0:
	default:
		return fmt.Errorf("a load needs a mode, and keep-alive a number of connections, not %q with %d", c.Mode, c.Connections)
	}
	// With persistent connections, each request may need a new one at worst.
	if worst := c.requests() + c.Connections; worst > allPorts {
		return fmt.Errorf("%d requests/s for up to %v may need %d source ports, and an address has only %d: lower the rate or the limit",
			c.Rate, c.Limit, worst, allPorts)
	}
	return nil
}

// requests is how many there are if nobody stops the load.
func (c Config) requests() int {
	return int(c.Limit.Seconds() * float64(c.Rate))
}

// StartTime is what Due counts from.
func (l *Load) StartTime() time.Time { return l.start }

// Stop starts no further requests, waits for those under way, and returns what
// became of all. It takes no longer than the timeout of a request.
func (l *Load) Stop() Result {
	l.cancel()
	<-l.sent
	l.underWay.Wait()
	if l.pool != nil {
		l.pool.close()
	}
	slices.SortFunc(l.result.Requests, func(a, b Request) int { return cmp.Compare(a.Due, b.Due) })
	return l.result
}

// send starts each request when it is due. Due times are counted from the start,
// so that no delay adds up.
func (l *Load) send(ctx context.Context) {
	defer close(l.sent)
	for n := range l.config.requests() {
		due := time.Duration(n) * time.Second / time.Duration(l.config.Rate)
		select {
		case <-time.After(due - time.Since(l.start)):
		case <-ctx.Done():
			return
		}
		l.underWay.Go(func() { l.request(due) })
	}
}

func (l *Load) request(due time.Duration) {
	l.mutex.Lock()
	l.inFlight++
	l.result.MaxInFlight = max(l.result.MaxInFlight, l.inFlight)
	l.mutex.Unlock()

	lag := time.Since(l.start) - due
	var answer Answer
	if l.pool == nil {
		answer = l.client.Get(l.config.Target)
	} else {
		answer = l.pool.get()
	}

	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.inFlight--
	l.result.MaxLag = max(l.result.MaxLag, lag)
	if answer.Fault != nil {
		l.result.GeneratorFaults++
		l.result.FirstFault = cmp.Or(l.result.FirstFault, answer.Fault)
		return
	}
	l.result.Requests = append(l.result.Requests, Request{
		Due: due, Lag: lag, Latency: answer.Latency, Kind: answer.Kind, Version: answer.Version,
	})
}
