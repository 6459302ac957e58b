import { render } from 'preact'
import './style.css'
import { followLinks } from './router'
import { loadSite } from './screen'
import { App } from './views/app'

followLinks()
void loadSite()
render(<App />, document.getElementById('app')!)
