// Command flagger-controller runs Flagger's controller, as its own command does
// (cmd/flagger of its module), built with types of Kubernetes that know the sleep hook.
//
// Flagger's own command cannot be built with them: it names a lock of the leader election
// that client-go has dropped. It also serves its metrics on all addresses, and this one
// serves nothing.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/flagger/pkg/canary"
	clientset "github.com/fluxcd/flagger/pkg/client/clientset/versioned"
	informers "github.com/fluxcd/flagger/pkg/client/informers/externalversions"
	"github.com/fluxcd/flagger/pkg/controller"
	"github.com/fluxcd/flagger/pkg/logger"
	"github.com/fluxcd/flagger/pkg/metrics/observers"
	"github.com/fluxcd/flagger/pkg/notifier"
	"github.com/fluxcd/flagger/pkg/router"
	"github.com/fluxcd/flagger/pkg/signals"
	"github.com/fluxcd/flagger/pkg/version"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "path to a kubeconfig file")
	interval := flag.Duration("control-loop-interval", time.Second, "how often each Canary is looked at")
	flag.Parse()
	if err := run(*kubeconfig, *interval); err != nil {
		fmt.Fprintln(os.Stderr, "flagger-controller:", err)
		os.Exit(1)
	}
}

func run(kubeconfig string, interval time.Duration) error {
	log, err := logger.NewLoggerWithEncoding("info", "console")
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	flagger, err := clientset.NewForConfig(config)
	if err != nil {
		return err
	}
	// The analyses of the tests measure nothing: nobody is asked there.
	metrics, err := observers.NewFactory("http://127.0.0.1:9090")
	if err != nil {
		return err
	}
	stop := signals.SetupSignalHandler()
	factory := informers.NewSharedInformerFactory(flagger, 30*time.Second)
	watched := controller.Informers{
		CanaryInformer: factory.Flagger().V1beta1().Canaries(),
		MetricInformer: factory.Flagger().V1beta1().MetricTemplates(),
		AlertInformer:  factory.Flagger().V1beta1().AlertProviders(),
	}
	for _, informer := range []cache.SharedIndexInformer{
		watched.CanaryInformer.Informer(), watched.MetricInformer.Informer(), watched.AlertInformer.Informer(),
	} {
		go informer.Run(stop)
		if !cache.WaitForNamedCacheSync("flagger", stop, informer.HasSynced) {
			return fmt.Errorf("told to stop")
		}
	}
	tracker := &canary.ConfigTracker{Logger: log, KubeClient: kube, FlaggerClient: flagger}
	selectors := []string{"app", "name", "app.kubernetes.io/name"}
	canaries := canary.NewFactory(kube, flagger, tracker, selectors, []string{""}, log)
	routers := router.NewFactory(config, kube, flagger, "nginx.ingress.kubernetes.io", "", log, flagger, true)
	return controller.NewController(
		kube, flagger, watched, interval, log, &notifier.NopNotifier{}, canaries, routers, metrics,
		"kubernetes", version.VERSION, "", "", false,
	).Run(2, stop)
}
