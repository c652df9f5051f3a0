package measure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"gapless.dev/tests/lab/load"
)

// namespace is the one of a run.
type namespace struct {
	experiment *experiment
	name       string
	// workload is the one that is rolled out, as kubectl names it.
	workload string
}

func (n namespace) kubectl(ctx context.Context, stdin string, arguments ...string) (string, error) {
	return n.experiment.kubectl(ctx, stdin, append([]string{"--namespace", n.name}, arguments...)...)
}

func (n namespace) rolloutStatus(ctx context.Context) error {
	_, err := n.kubectl(ctx, "", "rollout", "status", n.workload, "--timeout", rolloutLimit.String())
	return err
}

func (n namespace) isInjected(ctx context.Context) (bool, error) {
	var found struct {
		Metadata struct{ Annotations map[string]string }
	}
	err := n.get(ctx, &found, n.workload)
	_, isInjected := found.Metadata.Annotations[injectedAnnotation]
	return isInjected, err
}

func (n namespace) serviceAddress(ctx context.Context) (netip.AddrPort, error) {
	var found struct {
		Spec struct {
			ClusterIP netip.Addr
			Ports     []struct{ Port uint16 }
		}
	}
	if err := n.get(ctx, &found, "service", "chatbot"); err != nil {
		return netip.AddrPort{}, err
	}
	if len(found.Spec.Ports) != 1 {
		return netip.AddrPort{}, fmt.Errorf("the Service has %d ports instead of one", len(found.Spec.Ports))
	}
	return netip.AddrPortFrom(found.Spec.ClusterIP, found.Spec.Ports[0].Port), nil
}

func (n namespace) get(ctx context.Context, into any, arguments ...string) error {
	output, err := n.kubectl(ctx, "", append([]string{"get", "--output", "json"}, arguments...)...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(output), into)
}

// waitForPods waits until there are only pods of that version, and all of them
// answer.
func (n namespace) waitForPods(ctx context.Context, asker *load.Client, version string) error {
	return wait(ctx, "all pods to be of "+version+" and to answer", func() error {
		var found podList
		if err := n.get(ctx, &found, "pods", "--selector", podSelector); err != nil {
			return err
		}
		if len(found.Items) == 0 {
			return errors.New("there is no pod")
		}
		for _, pod := range found.Items {
			if err := pod.ask(asker, version); err != nil {
				return fmt.Errorf("pod %s: %w", pod.Metadata.Name, err)
			}
		}
		return nil
	})
}

type podList struct{ Items []pod }

type pod struct {
	Metadata struct{ Name string }
	Spec     struct {
		Containers []struct {
			Ports []struct{ ContainerPort uint16 }
		}
	}
	Status struct{ PodIP netip.Addr }
}

// ask asks the pod itself, past the Service.
func (p pod) ask(asker *load.Client, version string) error {
	if !p.Status.PodIP.IsValid() {
		return errors.New("it has no address yet")
	}
	// The manifest is the fixture: one container, one port.
	port := p.Spec.Containers[0].Ports[0].ContainerPort
	return ask(asker, netip.AddrPortFrom(p.Status.PodIP, port), version)
}
