package measure

import (
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"

	"gapless.dev/tests/lab/load"
)

// The picture's measures, in pixels.
const (
	pictureWidth = 900
	plotLeft     = 64
	plotRight    = 760
	firstPanel   = 126
	panelTitle   = 22
	panelGap     = 20
	rowHeight    = 14
)

// families are the colours: what a client sees, in groups that can be told apart.
var families = []struct {
	class, text string
	kinds       []load.Kind
}{
	{"refused", "connection refused", []load.Kind{load.ConnectionRefused, load.Unreachable}},
	{"cut", "connection cut off", []load.Kind{load.ConnectionReset, load.ClosedEarly}},
	{"silent", "no answer in time", []load.Kind{load.ConnectTimeout, load.ResponseTimeout}},
	// All others.
	{"wrong", "wrong answer", nil},
}

// The colours are chosen to be told apart on both grounds. A viewer that does not
// know of dark ones shows the light picture, on its own ground.
const style = `
  .ground { fill: #ffffff; stroke: #d0d7de }
  text { font: 12px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .panel { font-size: 13px; font-weight: 600 }
  .quiet { fill: #59636e }
  .grid { stroke: #e4e8ec }
  .start { stroke: #1f2328; stroke-dasharray: 4 3 }
  .sent { stroke: #c4ccd4; stroke-width: 3 }
  .done { fill: #1a7f37; stroke: #ffffff }
  .refused { stroke: #cf222e }
  .cut { stroke: #e16f24 }
  .silent { stroke: #8250df }
  .wrong { stroke: #0969da }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; stroke: #3d444d }
    text { fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .grid { stroke: #21262d }
    .start { stroke: #f0f6fc }
    .sent { stroke: #3d444d }
    .done { fill: #3fb950; stroke: #0d1117 }
    .refused { stroke: #f85149 }
    .cut { stroke: #f0883e }
    .silent { stroke: #a371f7 }
    .wrong { stroke: #58a6ff }
  }
`

// picture is an SVG of the pair: a row for each run, and in it a stroke for each
// request that was lost, at the time at which it was due.
func picture(records []Record) (string, error) {
	pair := judge(records)
	if len(pair.without) == 0 || len(pair.with) == 0 {
		return "", fmt.Errorf("the picture shows the variants %s and %s: it takes valid runs of both", withoutGapless, withGapless)
	}
	all := slices.Concat(pair.without, pair.with)
	scale := scaleOf(all)
	secondPanel := firstPanel + panelTitle + len(pair.without)*rowHeight + panelGap
	bottom := secondPanel + panelTitle + len(pair.with)*rowHeight + 6
	height := bottom + 50

	var svg drawing
	svg.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`,
		pictureWidth, height, pictureWidth, height, "Requests lost in rolling updates, without and with gapless")
	svg.add("<style>%s</style>", style)
	svg.add(`<rect class="ground" x="0.5" y="0.5" width="%d" height="%d" rx="6"/>`, pictureWidth-1, height-1)

	some := pair.without[0]
	svg.text("title", 24, 32, "start", "Requests lost while a Deployment is rolled out")
	svg.text("quiet", 24, 52, "start", fmt.Sprintf("Each row is one kubectl set image with 2 replicas, under %d requests/s, a new connection for each. Kubernetes %s.",
		some.Rate, some.Kubernetes))
	svg.legend(all)
	svg.panel(scale, firstPanel, "Without gapless: the Deployment as people write it", pair.without)
	svg.panel(scale, secondPanel, "With gapless: the same manifest, byte for byte", pair.with)
	svg.axis(scale, float64(bottom))
	svg.add("</svg>")
	return svg.String(), nil
}

// scale is where seconds since set image are.
type scale struct{ from, to float64 }

// scaleOf has room for all load.
func scaleOf(records []Record) scale {
	var scale scale
	for _, record := range records {
		scale.from, scale.to = min(scale.from, math.Floor(record.LoadStart)), max(scale.to, math.Ceil(record.LoadEnd))
	}
	return scale
}

func (s scale) x(second float64) float64 {
	return plotLeft + (second-s.from)/(s.to-s.from)*(plotRight-plotLeft)
}

// numbers are those at the axis, about ten.
func (s scale) numbers() []float64 {
	step := 60.0
	for _, smaller := range []float64{20, 10, 5, 2, 1} {
		if (s.to-s.from)/smaller <= 12 {
			step = smaller
		}
	}
	var numbers []float64
	for number := math.Ceil(s.from/step) * step; number <= s.to; number += step {
		numbers = append(numbers, number)
	}
	return numbers
}

type drawing struct{ strings.Builder }

func (d *drawing) add(format string, arguments ...any) {
	fmt.Fprintf(d, format+"\n", arguments...)
}

func (d *drawing) text(class string, x, y float64, anchor, text string) {
	var escaped strings.Builder
	// Writing into memory does not fail.
	_ = xml.EscapeText(&escaped, []byte(text))
	d.add(`<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, class, x, y, anchor, escaped.String())
}

// legend explains the marks; of the losses, those that occur.
func (d *drawing) legend(records []Record) {
	x, y := 24.0, 78.0
	entry := func(mark, text string) {
		d.add(mark, x, y)
		d.text("", x+24, y+4, "start", text)
		x += 56 + 6.3*float64(len(text))
	}
	entry(`<path class="start" d="M%.1f %.1fm8 -7v14"/>`, "kubectl set image")
	entry(`<circle class="done" cx="%.1f" cy="%.1f" r="4.5" transform="translate(8)"/>`, "success of kubectl rollout status")
	entry(`<path class="sent" d="M%.1f %.1fh16"/>`, "requests are being sent")
	x, y = 24.0, 98.0
	for _, family := range families {
		if occurs(records, family.class) {
			entry(`<path class="`+family.class+`" d="M%.1f %.1fm5 -5v10m3 0v-10m3 0v10"/>`, "a lost request: "+family.text)
		}
	}
}

func occurs(records []Record, class string) bool {
	for _, record := range records {
		for kind := range record.Kinds {
			if classOf(kind) == class {
				return true
			}
		}
	}
	return false
}

func classOf(kind load.Kind) string {
	for _, family := range families {
		for _, member := range family.kinds {
			if member == kind {
				return family.class
			}
		}
	}
	return families[len(families)-1].class
}

func (d *drawing) panel(scale scale, top int, title string, records []Record) {
	d.text("panel", 24, float64(top+10), "start", title)
	for _, second := range scale.numbers() {
		class := "grid"
		if second == 0 {
			class = "start"
		}
		d.add(`<path class="%s" d="M%.1f %dv%d"/>`, class, scale.x(second), top+panelTitle, len(records)*rowHeight)
	}
	for n, record := range records {
		middle := float64(top + panelTitle + n*rowHeight + rowHeight/2)
		d.text("quiet", plotLeft-10, middle+4, "end", fmt.Sprint(record.Run))
		d.add(`<path class="sent" d="M%.1f %.1fH%.1f"/>`, scale.x(record.LoadStart), middle, scale.x(record.LoadEnd))
		for _, family := range families {
			if strokes := strokes(scale, record, family.class, middle-5); strokes != "" {
				d.add(`<path class="%s" d="%s"/>`, family.class, strokes)
			}
		}
		d.add(`<circle class="done" cx="%.1f" cy="%.1f" r="4.5"/>`, scale.x(record.RolloutSeconds), middle)
		d.text("", plotRight+14, middle+4, "start", fmt.Sprintf("%s of %s lost", thousands(record.Failed), thousands(record.Sent)))
	}
}

// strokes is a path with one for each request that was lost that way.
func strokes(scale scale, record Record, class string, top float64) string {
	var path strings.Builder
	for _, failure := range record.Failures {
		if classOf(failure.Kind) == class {
			fmt.Fprintf(&path, "M%.1f %.1fv10", scale.x(failure.Due), top)
		}
	}
	return path.String()
}

// axis has the numbers of both panels.
func (d *drawing) axis(scale scale, bottom float64) {
	for _, second := range scale.numbers() {
		d.text("quiet", scale.x(second), bottom+12, "middle", strings.Replace(fmt.Sprint(second), "-", "−", 1))
	}
	d.text("quiet", (plotLeft+plotRight)/2, bottom+34, "middle", "seconds since kubectl set image")
}
