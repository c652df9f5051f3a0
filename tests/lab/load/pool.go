package load

import (
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// pool is a fixed number of persistent connections.
//
// A request takes the one that has been idle for longest, so that all are used in
// turn. If none is idle, it opens one for itself and closes it afterwards: waiting
// would make the load depend on the answers.
//
// A connection that the server has closed while it was idle is replaced before
// anything is sent, as every HTTP client does. A request that was sent and got no
// answer has failed; its connection is replaced by the next request that takes it.
type pool struct {
	client *Client
	target netip.AddrPort

	mutex sync.Mutex
	// idle are those that no request uses, longest idle first. One that is nil has
	// to be opened before it can be used.
	idle []*connection
}

// newPool opens all connections.
func newPool(client *Client, target netip.AddrPort, size int) (*pool, error) {
	pool := &pool{client: client, target: target}
	for range size {
		connection, answer := client.connect(target, time.Now())
		if answer.Fault != nil {
			pool.close()
			return nil, answer.Fault
		}
		// Should the server refuse, it is the first request's failure.
		pool.idle = append(pool.idle, connection)
	}
	return pool, nil
}

func (p *pool) get() Answer {
	start := time.Now()
	connection, isOwn := p.take()
	if connection != nil && connection.isClosed() {
		connection.Close()
		connection = nil
	}
	var answer Answer
	if connection == nil {
		connection, answer = p.client.connect(p.target, start)
	}
	mayReuse := false
	if connection != nil {
		answer, mayReuse = connection.get(start, "keep-alive")
	}
	if connection != nil && (isOwn || !mayReuse) {
		connection.Close()
		connection = nil
	}
	if !isOwn {
		p.giveBack(connection)
	}
	return answer
}

// take is one of the pool's connections; or, if all are in use, none, and the
// request's own is not to be given back.
func (p *pool) take() (connection *connection, isOwn bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if len(p.idle) == 0 {
		return nil, true
	}
	connection, p.idle = p.idle[0], p.idle[1:]
	return connection, false
}

func (p *pool) giveBack(connection *connection) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.idle = append(p.idle, connection)
}

// close closes those that are idle: all, once no request is under way.
func (p *pool) close() {
	for _, connection := range p.idle {
		if connection != nil {
			connection.Close()
		}
	}
}

// isClosed is whether the server has closed the connection, or has sent what
// nobody asked for. It looks without waiting.
func (c *connection) isClosed() bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	isQuiet := false
	err = raw.Control(func(descriptor uintptr) {
		var buffer [1]byte
		_, _, err := syscall.Recvfrom(int(descriptor), buffer[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		isQuiet = err == syscall.EAGAIN
	})
	return err != nil || !isQuiet || c.reader.Buffered() > 0
}
