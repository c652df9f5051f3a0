// Shows only the workloads that have all words and one of the marks. Without it all are shown.
(() => {
  const bar = document.getElementById("filter");
  if (!bar) return;
  const find = document.getElementById("find");
  const shown = document.getElementById("shown");
  const marks = [...bar.querySelectorAll("input[type=checkbox]")];
  const sections = [...document.querySelectorAll("section.names")].map((section) => {
    const title = section.querySelector("h3").textContent;
    const items = [...section.querySelectorAll(".one")].map((item) => ({
      item, text: (title + " " + item.textContent).toLowerCase(), marks: item.className.split(" "),
    }));
    return { section, items };
  });
  const all = sections.reduce((sum, { items }) => sum + items.length, 0);
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = marks.filter((it) => it.checked).map((it) => it.value);
    let left = 0;
    for (const { section, items } of sections) {
      let some = 0;
      for (const { item, text, marks } of items) {
        const fits = words.every((word) => text.includes(word))
          && (wanted.length === 0 || wanted.some((mark) => marks.includes(mark)));
        item.hidden = !fits;
        some += fits ? 1 : 0;
      }
      section.hidden = some === 0;
      left += some;
    }
    shown.textContent = left + " of " + all;
  };
  bar.addEventListener("input", filter);
  bar.hidden = false;
  filter();
})();
