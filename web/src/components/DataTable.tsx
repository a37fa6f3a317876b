// A table for every list of the console. The first column holds a link; the whole row opens it too.
import { flexRender, getCoreRowModel, useReactTable, type ColumnDef, type RowData } from '@tanstack/react-table'

declare module '@tanstack/react-table' {
  interface ColumnMeta<TData extends RowData, TValue> {
    /** The narrowest screen that shows the column. */
    from?: 'md' | 'lg' | 'xl'
    /** Numbers stand at the end. */
    end?: boolean
  }
}

interface DataTableProps<Row> {
  label: string
  // Each column has a value type of its own; a list of them can only be typed loosely.
  columns: ColumnDef<Row, any>[]
  rows: Row[]
  rowId: (row: Row) => string
  onOpen?: (row: Row) => void
  /** Rows that have just arrived. */
  isFresh?: (row: Row) => boolean
}

export function DataTable<Row>({ label, columns, rows, rowId, onOpen, isFresh }: DataTableProps<Row>) {
  const table = useReactTable({ data: rows, columns, getRowId: rowId, getCoreRowModel: getCoreRowModel() })
  return (
    <div className="table-scroll" role="region" aria-label={label} tabIndex={0}>
      <table className="table">
        <thead>
          <tr>
            {table.getFlatHeaders().map(({ id, column, getContext }) => (
              <th key={id} scope="col" className={column.columnDef.meta?.end ? 'end' : undefined} data-from={column.columnDef.meta?.from}>
                {flexRender(column.columnDef.header, getContext())}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.getRowModel().rows.map((row) => (
            <tr key={row.id} data-opens={onOpen && ''} data-fresh={isFresh?.(row.original) ? '' : undefined}
              onClick={(event) => {
                // A link or button inside the row acts for itself; selected text is being copied.
                const own = event.target instanceof Element && event.target.closest('a, button')
                if (!own && !window.getSelection()?.toString()) onOpen?.(row.original)
              }}>
              {row.getVisibleCells().map(({ id, column, getContext }) => (
                <td key={id} className={column.columnDef.meta?.end ? 'end num' : undefined} data-from={column.columnDef.meta?.from}>
                  {flexRender(column.columnDef.cell, getContext())}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
