package measure

import (
	"context"
	"io"
	"net/netip"
)

// Cluster is the node in which the runs are made. This process must be in its
// network namespace.
type Cluster interface {
	// Kubectl runs kubectl with that standard input and returns its standard
	// output; the error says what kubectl wrote to standard error.
	Kubectl(ctx context.Context, stdin string, arguments ...string) (string, error)
	// Watch runs kubectl until the context ends, and gives its standard output.
	Watch(ctx context.Context, arguments ...string) (io.ReadCloser, error)
	// InstallGapless installs the chart as it is, and returns when both webhooks
	// answer.
	InstallGapless(ctx context.Context) error
	// SourceAddress is the n-th of many addresses to connect from that nobody else
	// uses. A measurement takes three per run.
	SourceAddress(n int) netip.Addr
	// Fixtures is the directory tests/fixtures.
	Fixtures() string
}
