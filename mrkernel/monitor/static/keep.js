// What the notebook beside a widget keeps of it.

const WIDGET_MIME = "application/vnd.jupyter.widget-view+json";

/**
 * Put the static twin of a view that has ended in the view's place. A page that ran the cell itself
 * has done so already: it knows which output the kernel means. A page that was loaded since does not,
 * and would save the picture with which the view began. Hosts without JupyterLab's document: nothing.
 *
 * `twin`: MIME type → text. `of`: id of the widget's model.
 */
export function keepTwin(model, { twin, of }) {
  for (const cell of model.widget_manager?.context?.model?.cells ?? []) {
    for (let at = 0; at < (cell.outputs?.length ?? 0); at += 1) {
      const { data, metadata } = cell.outputs.get(at);
      if (data?.[WIDGET_MIME]?.model_id !== of || data["text/plain"] === twin["text/plain"]) continue;
      cell.outputs.set(at, { output_type: "display_data", data: twin, metadata });
    }
  }
}
